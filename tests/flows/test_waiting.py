"""More evaluations than a worker takes at a time: none is lost, none started twice, and they are taken in order."""

from pathlib import Path

import pytest

from benchmarks.queueing import out_of_order, overlap
from tests.flows.stack import Stack, wait_for
from tests.flows.test_evaluate import config

pytestmark = pytest.mark.live

COUNT, LIMIT = 20, 3


@pytest.mark.timeout(900)
def test_evaluations_wait_their_turn(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "home", limit=LIMIT)
    stack.home.mkdir()
    try:
        stack.start_server()
        stack.set_up()
        runs = [
            stack.start("simulated", config(tmp_path / "results", "mmath_en", step_seconds=0.2)) for _ in range(COUNT)
        ]
        stack.start_worker()
        ids = [run.flow_run_id for run in runs]
        wanted = {"id": {"any_": ids}, "state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]}}}
        wait_for(lambda: stack.post("/flow_runs/count", {"flow_runs": wanted}).json() == COUNT, 800, 2)
        ended = {each["id"]: each for each in stack.filter("/flow_runs/filter", flow_runs={"id": {"any_": ids}})}
    finally:
        stack.stop()
    assert {each["state_name"] for each in ended.values()} == {"Completed"}
    assert {each["run_count"] for each in ended.values()} == {1}
    assert len(list((tmp_path / "results").glob("*/results.json"))) == COUNT
    starts = [ended[each]["start_time"] for each in ids]
    assert overlap([(each["start_time"], each["end_time"]) for each in ended.values()]) <= LIMIT
    assert out_of_order(starts, LIMIT) == 0
