"""Workers on several machines: jobs that live on one of them are left to it, and silent engines elsewhere are found."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import unavailable
from tests.flows.stack import Run, Stack, end_tree
from tests.flows.test_evaluate import config
from tests.flows.test_reattach import begin, go, leftovers, processes_only, starts
from tests.waiting import wait_for

pytestmark = pytest.mark.live

__all__ = ["processes_only"]

ELSEWHERE = ("unshare", "--uts", "sh", "-c", 'hostname another-machine && exec "$@"', "sh")
"""Begins a command that runs on a machine of another name."""

RECONCILE = """
import asyncio
from prefect.client.orchestration import get_client
from proctor.flows.reconcile import reconcile_all
async def main():
    async with get_client() as client:
        print("\\n".join(await reconcile_all(client)))
asyncio.run(main())
"""


@pytest.fixture
def home_alone(stack: Stack) -> Iterator[Stack]:
    """A stack without a worker for now."""
    stack.kill_worker()
    yield stack
    if stack.worker:
        end_tree(stack.worker.pid)
        stack.worker.wait()


def test_an_evaluation_waits_for_the_machine_of_its_jobs(
    stack: Stack,
    tmp_path: Path,
    endpoint: str,
    processes_only: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        unavailable("only root can give a process another host name (unshare --uts)")
    monkeypatch.setattr(stack, "limit", 20)  # as every worker of ours has one
    run = begin(stack, tmp_path, endpoint, processes_only)
    engine = run.engine
    assert engine
    stack.kill_worker()
    os.kill(engine, signal.SIGKILL)
    stack.start_worker(*ELSEWHERE)
    again = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True}
    stack.post(f"/flow_runs/{run.flow_run_id}/set_state", again).raise_for_status()
    wait_for(lambda: run.labels.get("proctor.handed_back", 0) >= 2)
    wait_for(lambda: run.state == "AwaitingHost" and "waits for a worker there" in run.message)
    assert (run.engine, starts(run.folder)) == (engine, {"alpha": 1, "beta": 0})
    assert stack.worker
    assert stack.worker.poll() is None, "a worker bears being given a run again before it is rid of its engine"
    end_tree(stack.worker.pid)
    stack.worker.wait()
    stack.start_worker()
    go(run)
    assert run.until() == "Completed", run.message  # it looks for its machine every two minutes at the latest
    assert starts(run.folder) == {"alpha": 1, "beta": 1}
    assert run.engine != engine
    assert not leftovers(run)


UNSEEN = ("unshare", "--pid", "--fork", "--mount-proc")
"""Begins a command that sees no process of this machine, as in a container that bears the machine's name."""


def test_an_engine_that_cannot_be_seen_from_a_container_is_not_called_dead(stack: Stack, tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        unavailable("only root can hide processes from another one (unshare --pid)")
    run = stack.start("simulated", config(tmp_path, "mmath_en", step_seconds=300))
    wait_for(lambda: run.states().get("mmath_en") == "Running")
    with sqlite3.connect(stack.home / "prefect.db", timeout=60) as database:
        backdate(database, run.record["state_id"], "1 minutes")
    command = [*UNSEEN, sys.executable, "-c", RECONCILE]
    done = subprocess.run(command, env=stack.env, cwd=stack.home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert run.id not in done.stdout
    assert run.state == "Running", run.message
    run.cancel()
    assert run.until() == "Cancelled"


def record(stack: Stack, state: str, tags: list[str], **fields: Any) -> dict[str, Any]:
    """A flow run in this state that no process drives."""
    flow = stack.post("/flows/", {"name": "evaluate"}).raise_for_status().json()["id"]
    body = {"flow_id": flow, "tags": tags, "state": {"type": state}, **fields}
    made: dict[str, Any] = stack.post("/flow_runs/", body).raise_for_status().json()
    return made


def test_benchmarks_of_an_evaluation_that_is_over_are_ended_however_many(stack: Stack) -> None:
    made = record(stack, "FAILED", ["proctor:evaluation"])
    run = Run(stack, made["id"])
    stack.filter("/flow_runs/filter", flow_runs={})
    path = f"/flow_runs/{run.flow_run_id}"
    with sqlite3.connect(stack.home / "prefect.db", timeout=60) as database:
        tags = f'["proctor:evaluation", "evaluation:{run.id}"]'
        database.execute("update flow_run set tags = ? where id = ?", (tags, run.flow_run_id))
        backdate(database, stack.get(path)["state_id"], "2 minutes")
    count = 205
    for index in range(count):
        record(stack, "RUNNING", ["proctor:benchmark", f"evaluation:{run.id}"], parameters={"step": f"x.{index}"})
    assert f"{run.id}: it is over" in stack.python(RECONCILE)
    tags_of = {"all_": ["proctor:benchmark", f"evaluation:{run.id}"]}
    left = {"tags": tags_of, "state": {"type": {"any_": ["RUNNING"]}}}
    assert stack.post("/flow_runs/count", {"flow_runs": left}).json() == 0
    ended = {"tags": tags_of, "state": {"type": {"any_": ["CRASHED"]}}}
    assert stack.post("/flow_runs/count", {"flow_runs": ended}).json() == count


def backdate(database: sqlite3.Connection, state: str, age: str) -> None:
    """Let a flow run have been in its state for so long."""
    changed = database.execute(
        "update flow_run_state set timestamp = datetime(timestamp, ?) where id = ?", (f"-{age}", state)
    )
    assert changed.rowcount == 1


def test_a_run_of_a_process_that_is_gone_is_called_crashed(stack: Stack) -> None:
    here = os.uname().nodename
    made = record(stack, "RUNNING", ["proctor:evaluation"], labels={"proctor.engine": f"{here} 1 1000"})
    with sqlite3.connect(stack.home / "prefect.db", timeout=60) as database:
        backdate(database, made["state_id"], "1 minutes")
    stack.python(RECONCILE)
    run = Run(stack, made["id"])
    wait_for(lambda: run.state == "Crashed")  # the worker may have been about to say so, too
    assert run.message == "its engine is dead"


def test_a_silent_engine_elsewhere_is_dead(home_alone: Stack, tmp_path: Path) -> None:
    stack = home_alone
    run = stack.start("simulated", config(tmp_path, "mmath_en"))
    stack.post(f"/flow_runs/{run.flow_run_id}/set_state", {"state": {"type": "RUNNING"}, "force": True})
    with sqlite3.connect(stack.home / "prefect.db", timeout=60) as database:
        labels = '{"proctor.engine": "another-machine 1 1000"}'
        database.execute("update flow_run set labels = ? where id = ?", (labels, run.flow_run_id))
        backdate(database, run.record["state_id"], "10 minutes")
    assert f"{run.id}: its engine was dead, it comes back" in stack.python(RECONCILE)
    assert run.state == "AwaitingRetry"
    run.abandon()
