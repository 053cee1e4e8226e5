"""Exports as part of an evaluation: tried again, with a receipt, and never at the cost of its scores."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.flows.stack import Run, Stack
from tests.flows.test_evaluate import config
from tests.tasks.exporters.sheets import BOOK, sheets_api
from tests.tasks.exporters.test_wandb import records
from tests.waiting import wait_for

pytestmark = pytest.mark.live


def exporting(tmp_path: Path, export: dict[str, Any]) -> dict[str, Any]:
    return {**config(tmp_path, "mmath_en"), "export": export}


def test_a_destination_that_was_busy_gets_the_scores_and_gives_a_receipt(stack: Stack, tmp_path: Path) -> None:
    with sheets_api(tmp_path) as (book, url, key_file):
        book.refuse = 503
        threading.Timer(8, lambda: setattr(book, "refuse", 0)).start()
        sheet = {"spreadsheet": BOOK, "service_account_file": str(key_file), "api_url": url}
        run = stack.start("simulated", exporting(tmp_path, {"destinations": ["local", "gsheets"], "gsheets": sheet}))
        assert run.until() == "Completed", run.message
        assert [row[:4] for row in book.sheets["proctor"][1:]] == [[run.id, "mmath.mmath_en", "mmath_en.accuracy", 0.5]]
    (receipt,) = json.loads(run.artifact("export-gsheets"))
    assert (receipt["scores"], receipt["destination"]) == (1, "gsheets")
    (local,) = json.loads(run.artifact("export-local"))
    assert str(run.folder / "results.json") in local["where"]


def test_a_destination_without_an_address_hides_no_scores(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("simulated", exporting(tmp_path, {"destinations": ["mlflow", "gsheets", "local"]}))
    assert run.until() == "Completed"
    assert "1 of 1 benchmarks have scores" in run.message
    assert "not exported to mlflow: export.mlflow.tracking_uri: name the server here" in run.message
    assert "not exported to gsheets: export.gsheets.spreadsheet: give the id" in run.message
    assert run.artifact("results")["benchmarks"][0]["scores"][0]["value"] == 0.5
    assert (run.folder / "results.json").exists()
    assert run.artifact("export-mlflow") is None


def test_mlflow_and_wandb_get_the_scores_by_tasks_of_their_own(
    stack: Stack, tmp_path: Path, mlflow_server: str
) -> None:
    mlflow = {"tracking_uri": mlflow_server, "experiment_name": "by-the-flow", "artifacts": True}
    wandb = {"mode": "offline", "project": "nightly"}
    export = {"destinations": ["mlflow", "wandb"], "mlflow": mlflow, "wandb": wandb}
    run = stack.start("simulated", exporting(tmp_path, export))
    assert run.until() == "Completed"
    assert "not exported" not in run.message
    client = MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name("by-the-flow")
    assert experiment
    (kept,) = client.search_runs([experiment.experiment_id])
    assert kept.data.tags["proctor.flow_run_id"] == run.flow_run_id
    assert kept.data.metrics["mmath.mmath_en/mmath_en.accuracy"] == 0.5
    assert "report.html" in {each.path for each in client.list_artifacts(kept.info.run_id)}
    (receipt,) = json.loads(run.artifact("export-mlflow"))
    assert receipt["where"].endswith(kept.info.run_id)
    (receipt,) = json.loads(run.artifact("export-wandb"))
    found = list(records(next(Path(receipt["where"]).glob("*.wandb"))))
    updates = [each for record in found if record.HasField("summary") for each in record.summary.update]
    summary = {(each.key or each.nested_key[0]): json.loads(each.value_json) for each in updates}
    assert summary["mmath.mmath_en/mmath_en.accuracy"] == 0.5


def exports_begun(run: Run) -> dict[str, str]:
    """When each export began."""
    tasks = run.stack.filter("/task_runs/filter", flow_runs={"id": {"any_": [run.flow_run_id]}})
    return {each["name"]: each["start_time"] for each in tasks if each["start_time"]}


def test_a_destination_that_hangs_holds_up_nothing(stack: Stack, tmp_path: Path) -> None:
    with sheets_api(tmp_path) as (book, url, key_file):
        book.pause = 600
        sheet = {"spreadsheet": BOOK, "service_account_file": str(key_file), "api_url": url, "timeout": 3}
        run = stack.start("simulated", exporting(tmp_path, {"destinations": ["gsheets", "local"], "gsheets": sheet}))
        assert run.until() == "Completed"
        assert "not exported to gsheets: no answer within 3 s" in run.message
    assert (run.folder / "results.json").exists()
    wait_for(lambda: {"export to local", "export to gsheets"} <= exports_begun(run).keys())  # it is written down later
    begun = exports_begun(run)
    assert begun["export to local"] < begun["export to gsheets"]
