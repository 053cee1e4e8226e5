"""Export to a real MLflow server."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from proctor.blocks.errors import ExportError
from proctor.configs.export_schema import MlflowExport
from proctor.tasks.exporters.dispatch import send
from tests.tasks.exporters.results import FLOW_RUN, output, result

pytestmark = pytest.mark.live


def test_exporting_twice_leaves_one_run_which_is_updated(mlflow_server: str, tmp_path: Path) -> None:
    folder = output(tmp_path / "mmath_en.0")
    settings = MlflowExport(
        tracking_uri=mlflow_server, experiment_name="nightly", tags={"team": "eval"}, artifacts=True
    )
    send(result(folder), "mlflow", settings, str(tmp_path))
    receipt = send(result(folder, value=0.75), "mlflow", settings, str(tmp_path))
    client = MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name("nightly")
    assert experiment
    (run,) = client.search_runs([experiment.experiment_id])
    assert receipt.where == f"{mlflow_server}/#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}"
    assert run.data.metrics == {
        "mmath.mmath_en/AIME2024.accuracy": 0.75,
        "mmath.mmath_en/AIME2024.accuracy.stderr": 0.08,
        "mmath.mmath_en/pass_at_1": 0.25,
    }
    assert run.data.params["mmath.mmath_en.temperature"] == "0.0"
    assert run.data.params["mmath.mmath_en.image"] == "sha256:abc"
    assert (run.data.tags["team"], run.data.tags["failed"]) == ("eval", "bfcl.simple")
    assert (run.info.run_name, run.info.status) == ("demo 3f2a91bc", "FAILED")
    files = [each.path for path in ("", "mmath_en.0") for each in client.list_artifacts(run.info.run_id, path)]
    assert sorted(files) == sorted(
        ["mmath_en.0", "report.html", "results.csv", "results.json", "mmath_en.0/harness.log", "mmath_en.0/results.yml"]
    )


def test_a_server_that_is_away_is_worth_another_try() -> None:
    with pytest.raises(ExportError, match=r"MLflow at http://127\.0\.0\.1:1: ") as caught:
        send(result(), "mlflow", MlflowExport(tracking_uri="http://team:canary@127.0.0.1:1"), ".")
    assert caught.value.again
    assert "canary" not in str(caught.value)


def shown(server: str, flow_run_id: str) -> tuple[dict[str, float], int]:
    """What MLflow shows of an evaluation, and how many values it keeps of its first score."""
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("corrected")
    assert experiment
    (run,) = client.search_runs([experiment.experiment_id], f"tags.`proctor.flow_run_id` = '{flow_run_id}'")
    history = client.get_metric_history(run.info.run_id, "mmath.mmath_en/AIME2024.accuracy")
    return run.data.metrics, len(history)


def test_a_corrected_value_replaces_the_one_before_also_when_it_is_lower(mlflow_server: str, tmp_path: Path) -> None:
    settings = MlflowExport(tracking_uri=mlflow_server, experiment_name="corrected")
    for value, kept in [(0.75, 1), (0.5, 2), (0.5, 2), (0.25, 3), (0.75, 4)]:
        send(result(value=value), "mlflow", settings, str(tmp_path))
        metrics, history = shown(mlflow_server, FLOW_RUN)
        assert (metrics["mmath.mmath_en/AIME2024.accuracy"], history) == (value, kept)


def test_the_receipt_tells_no_password_and_which_files_are_not_here(
    mlflow_server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    uri = mlflow_server.replace("://", "://team:canary@")
    elsewhere = result(tmp_path / "on another machine" / "mmath_en.0")
    settings = MlflowExport(tracking_uri=uri, experiment_name="elsewhere", artifacts=True)
    receipt = send(elsewhere, "mlflow", settings, str(tmp_path))
    assert receipt.where.startswith(f"{mlflow_server}/#/experiments/")
    assert (receipt.files, receipt.missing) == (0, "mmath.mmath_en")
    client = MlflowClient(mlflow_server)
    found = client.list_artifacts(receipt.where.rpartition("/")[2])
    assert {each.path for each in found} == {"report.html", "results.csv", "results.json"}
    assert "canary" not in "".join(capfd.readouterr())
