"""More evaluations than a worker takes at a time: none is lost, none started twice, and they are taken in order."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.counting_proxy import CountingProxy
from benchmarks.overhead import DRIVER
from benchmarks.queueing import out_of_order, overlap
from tests.flows.stack import Stack
from tests.flows.test_evaluate import config
from tests.lossy_proxy import LossyProxy
from tests.waiting import wait_for

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


def test_a_worker_without_work_asks_the_server_little(stack: Stack) -> None:
    looks, in_full = "POST /api/flow_runs/count", "POST /api/work_pools/proctor/get_scheduled_flow_runs"
    stack.kill_worker()
    try:
        with LossyProxy(stack.api, losing="nothing") as proxy:
            stack.through = proxy.url
            stack.start_worker()
            wait_for(lambda: proxy.asked[looks])
            before = proxy.asked.copy()
            time.sleep(21)
            made = proxy.asked - before
            stack.kill_worker()
    finally:
        stack.through = ""
        stack.mend()
    assert 1 <= made[in_full] <= 3
    assert made[looks] > made[in_full]
