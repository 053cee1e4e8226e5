"""An MLflow server is away while evaluations end: they end with their scores, and MLflow has each of them once."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.cli.machine import PROCTOR
from tests.flows.stack import Run, Stack
from tests.flows.test_exports import exporting
from tests.gate import Gate
from tests.waiting import wait_for

pytestmark = pytest.mark.live


@pytest.fixture
def gate(mlflow_server: str) -> Iterator[Gate]:
    """The way to the MLflow server."""
    with Gate(mlflow_server) as gate:
        yield gate


def start(stack: Stack, folder: Path, gate: Gate) -> Run:
    """An evaluation that sends its scores to MLflow alone; the run's id is that of the experiment, too."""
    mlflow = {"tracking_uri": gate.url, "experiment_name": folder.name}
    return stack.start("simulated", exporting(folder, {"destinations": ["mlflow"], "mlflow": mlflow}))


def kept(server: str, name: str) -> list[Any]:
    """What MLflow has of an experiment."""
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name(name)
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def once(server: str, run: Run, name: str) -> None:
    """MLflow has the evaluation once, whole, and the evaluation its receipt."""
    (found,) = kept(server, name)
    assert found.data.tags["proctor.flow_run_id"] == run.flow_run_id
    assert (found.data.metrics["mmath.mmath_en/mmath_en.accuracy"], found.info.status) == (0.5, "FINISHED")
    (receipt,) = json.loads(run.artifact("export-mlflow"))
    assert receipt["where"].endswith(found.info.run_id)


def scored(run: Run) -> bool:
    """Whether its scores are there to be seen."""
    found = run.artifact("results")
    return bool(found and found["benchmarks"][0]["scores"][0]["value"] == 0.5)


def attempts(run: Run) -> int:
    """How often the task that exports was tried."""
    tasks = run.stack.filter("/task_runs/filter", flow_runs={"id": {"any_": [run.flow_run_id]}})
    return next((int(each["run_count"]) for each in tasks if each["name"] == "export to mlflow"), 0)


def test_a_server_that_refuses_connections_for_a_while_gets_the_scores(
    stack: Stack, tmp_path: Path, mlflow_server: str, gate: Gate
) -> None:
    gate.shut()
    run = start(stack, tmp_path, gate)
    wait_for(lambda: attempts(run) >= 2)
    assert (run.state, scored(run)) == ("Running", True), "the scores are there before the export is"
    gate.open()
    assert run.until() == "Completed", run.message
    assert "not exported" not in run.message
    once(mlflow_server, run, tmp_path.name)


@pytest.mark.parametrize("seconds", [0.0, 6.0], ids=["only its answer is lost", "it is away for a while"])
@pytest.mark.parametrize("request_", ["runs/create", "runs/log-batch", "runs/update"])
def test_a_server_that_goes_away_in_the_middle_has_one_run(
    stack: Stack, tmp_path: Path, mlflow_server: str, gate: Gate, request_: str, seconds: float
) -> None:
    gate.shut_behind(request_.encode(), seconds)
    run = start(stack, tmp_path, gate)
    assert run.until() == "Completed", run.message
    assert "not exported" not in run.message
    once(mlflow_server, run, tmp_path.name)
    wait_for(lambda: attempts(run) >= 2)


@pytest.mark.timeout(600)
def test_a_server_that_stays_away_is_told_and_gets_the_scores_by_hand(
    stack: Stack, tmp_path: Path, mlflow_server: str, gate: Gate
) -> None:
    gate.shut()
    run = start(stack, tmp_path, gate)
    assert run.until() == "Completed", run.message
    assert "1 of 1 benchmarks have scores" in run.message
    assert run.message.endswith(f"not exported to mlflow: MLflow at {gate.url}: Connection refused")
    assert scored(run)
    assert run.artifact("export-mlflow") is None
    assert not kept(mlflow_server, tmp_path.name)
    command = [PROCTOR, "export", run.id, "--dest", "mlflow"]
    refused = subprocess.run(command, env=stack.env, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr == f"proctor: {run.id} is not exported: MLflow at {gate.url}: Connection refused\n"
    gate.open()
    done = subprocess.run(command, env=stack.env, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    once(mlflow_server, run, tmp_path.name)
