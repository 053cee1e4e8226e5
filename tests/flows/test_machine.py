"""What looks after a server by itself: the automation for silent engines, and the scheduled deployments."""

import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.flows.stack import Run, Stack
from tests.flows.test_hosts import RECONCILE, backdate, home_alone
from tests.flows.test_reattach import begin, go, processes_only, starts
from tests.waiting import wait_for

pytestmark = pytest.mark.live

__all__ = ["home_alone", "processes_only"]

ENDS = ("Completed", "Failed", "Crashed", "Cancelled")

AUTOMATIONS = """
import asyncio, sys
from datetime import timedelta
from prefect.client.orchestration import get_client
from proctor.flows.automations import apply_automations, automations
async def main():
    async with get_client() as client:
        await apply_automations(client, automations(*(timedelta(seconds=float(each)) for each in sys.argv[1:])))
asyncio.run(main())
"""


def test_a_silent_engine_is_crashed_by_the_server_and_comes_back(
    stack: Stack, tmp_path: Path, endpoint: str, processes_only: dict[str, Any]
) -> None:
    stack.python(AUTOMATIONS, "60")
    try:
        run = begin(stack, tmp_path, endpoint, processes_only)
        engine = run.engine
        assert engine
        beats = {
            "event": {"name": ["prefect.flow-run.heartbeat"]},
            "resource": {"id": [f"prefect.flow-run.{run.flow_run_id}"]},
        }
        wait_for(lambda: stack.post("/events/filter", {"filter": beats}).json()["events"], pause=1)
        stack.kill_worker()
        os.kill(engine, signal.SIGKILL)
        assert run.state == "Running"
        wait_for(lambda: run.state == "AwaitingRetry", pause=1)
        names = [each["name"] for each in stack.get(f"/flow_run_states/?flow_run_id={run.flow_run_id}")]
        assert "Crashed" in names
    finally:
        stack.python(AUTOMATIONS)
    stack.start_worker()
    go(run)
    assert run.until() == "Completed", run.message
    assert starts(run.folder) == {"alpha": 1, "beta": 1}


def upkeep(stack: Stack, flow: str) -> Run:
    """A run of one of the scheduled deployments, now."""
    deployment = stack.get(f"/deployments/name/{flow}/machine")
    body = {"state": {"type": "SCHEDULED"}}
    made = stack.post(f"/deployments/{deployment['id']}/create_flow_run", body).raise_for_status().json()
    return Run(stack, made["id"])


def taken_up(stack: Stack, flow: str) -> list[Run]:
    """One that begins, or none: the server cancels it when the schedule's own one is under way."""
    run = upkeep(stack, flow)
    return [run] if run.until("Running", *ENDS) != "Cancelled" else []


@pytest.mark.parametrize("flow", ["reconcile", "reap"])
def test_the_scheduled_deployments_run_on_a_worker(stack: Stack, flow: str) -> None:
    (run,) = wait_for(lambda: taken_up(stack, flow), pause=5)
    assert run.until(*ENDS) == "Completed", run.message


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_an_upkeep_whose_process_is_gone_ends_and_the_next_one_runs(home_alone: Stack, state: str) -> None:
    stack = home_alone
    run = upkeep(stack, "reap")
    for each in dict.fromkeys(["PENDING", state]):
        stack.post(f"/flow_runs/{run.flow_run_id}/set_state", {"state": {"type": each}}).raise_for_status()
    with sqlite3.connect(stack.home / "prefect.db", timeout=60) as database:
        backdate(database, run.record["state_id"], "6 minutes")
    assert f"{run.record['name']} of this machine's upkeep: its process is gone" in stack.python(RECONCILE)
    assert run.state == "Crashed"
    following = upkeep(stack, "reap")
    stack.start_worker()
    assert following.until(*ENDS) == "Completed", following.message
