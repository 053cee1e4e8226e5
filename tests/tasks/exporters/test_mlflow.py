"""Export to a real MLflow server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from mlflow import MlflowClient

from proctor.blocks.errors import ExportError
from proctor.configs.export_schema import MlflowExport
from proctor.tasks.exporters.dispatch import send
from tests.flows.stack import end_tree, free_port, wait_for
from tests.tasks.exporters.results import output, result

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking server with a database and a folder for artifacts."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "DO_NOT_TRACK": "1"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=env)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: healthy(url), 120, 0.5)
        yield url
    finally:
        end_tree(process.pid)
        process.wait()


def healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_exporting_twice_leaves_one_run_which_is_updated(server: str, tmp_path: Path) -> None:
    folder = output(tmp_path / "mmath_en.0")
    settings = MlflowExport(tracking_uri=server, experiment_name="nightly", tags={"team": "eval"}, artifacts=True)
    send(result(folder), "mlflow", settings, str(tmp_path))
    receipt = send(result(folder, value=0.75), "mlflow", settings, str(tmp_path))
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("nightly")
    assert experiment
    (run,) = client.search_runs([experiment.experiment_id])
    assert receipt.where == f"{server}/#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}"
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
        send(result(), "mlflow", MlflowExport(tracking_uri="http://127.0.0.1:1"), ".")
    assert caught.value.again
