"""What looks after a server by itself: the automation for silent engines, and the scheduled deployments."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.flows.stack import Run, Stack
from tests.flows.test_reattach import begin, go, processes_only, starts
from tests.waiting import wait_for

pytestmark = pytest.mark.live

__all__ = ["processes_only"]

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
    stack.python(AUTOMATIONS, "35")
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


@pytest.mark.parametrize("flow", ["reconcile", "reap"])
def test_the_scheduled_deployments_run_on_a_worker(stack: Stack, flow: str) -> None:
    deployment = stack.get(f"/deployments/name/{flow}/machine")
    path = f"/deployments/{deployment['id']}/create_flow_run"
    made = stack.post(path, {"state": {"type": "SCHEDULED"}}).raise_for_status().json()
    run = Run(stack, made["id"])
    assert run.until("Completed", "Failed", "Crashed") == "Completed", run.message
