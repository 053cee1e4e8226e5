"""`proctor resume`: any evaluation that did not get through goes on, and what cannot is told why."""

import json
import os
import re
from pathlib import Path
from typing import Any

import psutil
import pytest

from proctor.cli.address import Address
from proctor.cli.api import PrefectApi
from proctor.configs.records import evaluation_id
from tests.cli.machine import Machine
from tests.waiting import wait_for

pytestmark = pytest.mark.live


@pytest.fixture
def api(machine: Machine) -> PrefectApi:
    return PrefectApi(Address(machine.api_url, "test"))


def states(machine: Machine, evaluation: str) -> list[str]:
    return [row["state"] for row in machine.json("status", evaluation)["progress"]]


def test_what_was_cancelled_runs_again_and_what_had_ended_is_kept(machine: Machine) -> None:
    evaluation = machine.detached("execution.step_seconds=60")
    wait_for(lambda: states(machine, evaluation) == ["COMPLETED", "RUNNING"], pause=0.5)
    assert machine.run("kill", evaluation).returncode == 0
    folder = Path(machine.json("info", evaluation)["output_dir"])
    first = (folder / "mmath_en.0" / "results.yml").stat().st_mtime_ns
    done = machine.run("resume", evaluation)
    assert done.returncode == 0, done.stderr
    assert "mmath_zh.accuracy" in done.stdout
    assert (folder / "mmath_en.0" / "results.yml").stat().st_mtime_ns == first
    results = json.loads((folder / "results.json").read_text())
    assert [each["state"] for each in results["benchmarks"]] == ["COMPLETED", "COMPLETED"]
    again = machine.run("resume", evaluation)
    assert again.returncode == 1
    assert "is Completed; only" in again.stderr


def test_a_run_whose_file_was_not_there_is_tried_again(machine: Machine, api: PrefectApi, tmp_path: Path) -> None:
    deployment = api.get("/deployments/name/evaluate/nightly")["id"]
    body = {"parameters": {"config": {"file": str(tmp_path / "later.yaml")}}, "state": {"type": "SCHEDULED"}}
    run = str(api.post(f"/deployments/{deployment}/create_flow_run", **body)["id"])
    wait_for(lambda: api.get(f"/flow_runs/{run}")["state_name"] == "Failed")
    Path(machine.config()).rename(tmp_path / "later.yaml")
    done = machine.run("resume", run)
    assert done.returncode == 0, done.stderr
    assert "mmath_en.accuracy" in done.stdout


def record(api: PrefectApi, engine: str, *, state: str, deployed: bool = True, name: str = "") -> str:
    """A run in this state that somebody else's engine drives; the answer is the flow run's id."""
    deployment = api.get("/deployments/name/evaluate/simulated")
    own = {} if deployed else {"flow_id": deployment["flow_id"]}
    path = f"/deployments/{deployment['id']}/create_flow_run" if deployed else "/flow_runs/"
    body = {"tags": ["proctor:evaluation"], "labels": {"proctor.engine": engine}, "state": {"type": "PENDING"}, **own}
    if deployed:
        body["parameters"] = {"config": {"evaluation": {"tasks": [{"name": "mmath_en"}]}}}
    run = str(api.post(path, **body)["id"])
    later = {"scheduled_time": "2099-01-01T00:00:00Z"} if state == "SCHEDULED" else {}
    wanted = {"type": state, "state_details": later} | ({"name": name} if name else {})
    api.post(f"/flow_runs/{run}/set_state", state=wanted, force=True)
    return run


ALIVE = f"{os.uname().nodename} {os.getpid()} {psutil.Process().create_time():.0f}"


@pytest.mark.parametrize(
    ("engine", "made", "words"),
    [
        (ALIVE, {"state": "RUNNING"}, "its process lives; watch it: proctor status"),
        ("far 1 1", {"state": "RUNNING"}, "its jobs belong to far: resume it there, or with --elsewhere"),
        ("far 1 1", {"state": "SCHEDULED", "name": "AwaitingHost"}, "is AwaitingHost, and its jobs belong to far"),
        ("", {"state": "SCHEDULED"}, "is Scheduled; only an evaluation that ended early"),
        ("far 1 1", {"state": "CRASHED", "deployed": False}, "was started inside a process of its own"),
    ],
    ids=["alive", "elsewhere", "handed back", "scheduled", "in a process"],
)
def test_what_cannot_be_resumed_is_told(
    machine: Machine, api: PrefectApi, engine: str, made: dict[str, Any], words: str
) -> None:
    run = record(api, engine, **made)
    done = machine.run("resume", run)
    api.request("DELETE", f"/flow_runs/{run}")
    assert done.returncode == 1
    assert re.match(rf"proctor: {evaluation_id(run)} ", done.stderr)
    assert words in done.stderr
