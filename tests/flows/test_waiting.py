"""More evaluations than a worker takes at a time: none is lost, none started twice, and they are taken in order."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.counting_proxy import CountingProxy
from benchmarks.overhead import DRIVER
from benchmarks.queueing import out_of_order, overlap
from tests.flows.stack import Stack, wait_for
from tests.flows.test_evaluate import config

pytestmark = pytest.mark.live

COUNT, LIMIT = 12, 3
MANY = 120
"""Benchmarks of one evaluation: more than a run may have tags; `make bench` has 300."""


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


def test_many_benchmarks_start_without_a_refused_request(stack: Stack, tmp_path: Path) -> None:
    proxy = CountingProxy(stack.api)
    names = [f"fake.b{index}" for index in range(MANY)]
    content = config(tmp_path, *names, step_seconds=1, max_parallel=MANY)
    content["evaluation"] = {"trust_unlisted": True, "tasks": [{"name": each, "container": "none"} for each in names]}
    env = {**stack.env, "PREFECT_API_URL": proxy.url}
    command = [sys.executable, "-c", DRIVER]
    done = subprocess.run(command, input=json.dumps(content), env=env, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    (results,) = tmp_path.glob("*/results.json")
    assert len(json.loads(results.read_text())["benchmarks"]) == MANY
    assert proxy.requests > 2 * MANY
    assert proxy.failed == 0
