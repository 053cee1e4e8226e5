"""The Prefect server or its database is away for a while: nothing is lost, results are exported, states catch up."""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.flows.stack import Run, Stack
from tests.flows.test_evaluate import config
from tests.lossy_proxy import LossyProxy
from tests.tasks.exporters.sheets import BOOK, sheets_api
from tests.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.live


def test_a_locked_database_delays_and_loses_nothing(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("simulated", config(tmp_path, "mmath_en", "mmath_zh", step_seconds=10))
    wait_for(lambda: run.states().get("mmath_en") == "Running")
    with sqlite3.connect(stack.home / "prefect.db", timeout=60, isolation_level=None) as database:
        database.execute("begin immediate")
        time.sleep(25)
        database.execute("rollback")
    assert run.until() == "Completed", run.message
    assert run.states() == {"mmath_en": "Completed", "mmath_zh": "Completed"}
    assert len(json.loads((run.folder / "results.json").read_text())["benchmarks"]) == 2
    assert len(run.artifact("results")["benchmarks"]) == 2


def test_a_server_that_does_not_answer_for_a_minute(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("simulated", config(tmp_path, "mmath_en", "mmath_zh", step_seconds=20))
    wait_for(lambda: run.states().get("mmath_en") == "Running")
    assert stack.server
    parent = psutil.Process(stack.server.pid)
    family = [parent.pid, *(child.pid for child in parent.children(recursive=True))]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(60)
    finally:
        for pid in family:
            os.kill(pid, signal.SIGCONT)
    assert run.until() == "Completed", run.message
    assert run.states() == {"mmath_en": "Completed", "mmath_zh": "Completed"}
    assert (run.folder / "results.json").exists()


@contextmanager
def refusing(stack: Stack, seconds: float) -> Iterator[None]:
    """The server is killed; behind the block it is started again, so many seconds later."""
    stack.kill_server()
    until = time.monotonic() + seconds
    try:
        yield
    finally:
        time.sleep(max(0.0, until - time.monotonic()))
        stack.start_server()


def whole(run: Run, output: Path, *destinations: str, seconds: float = PATIENCE) -> None:
    """Nothing of an evaluation with both benchmarks is missing or there twice, once it has ended within that time."""
    assert run.until(seconds=seconds) == "Completed", run.message
    assert "not exported" not in run.message
    assert sorted((each["name"], each["state_name"]) for each in run.benchmarks()) == [
        ("mmath.mmath_en", "Completed"),
        ("mmath.mmath_zh", "Completed"),
    ]
    assert run.record["run_count"] == 1
    results = json.loads((folder_of(run, output) / "results.json").read_text())
    assert [each["scores"][0]["value"] for each in results["benchmarks"]] == [0.5, 0.5]
    assert run.artifact("results") == results
    for each in destinations:
        assert len(json.loads(run.artifact(f"export-{each}"))) == 1
    assert {row["state"] for row in json.loads(run.artifact("progress"))} == {"COMPLETED"}


def folder_of(run: Run, output: Path) -> Path:
    """Where an evaluation keeps its files, once it does."""
    return wait_for(lambda: next(output.glob(f"*-{run.id}"), None), pause=0.01) or output


@pytest.mark.timeout(900)
def test_a_server_that_refuses_connections_for_minutes(stack: Stack, tmp_path: Path) -> None:
    """One evaluation's benchmarks run, one sends its scores somewhere, one is about to end; then another one begins.

    One more is cancelled afterwards, when nobody at Prefect's listens for that any more: its observers give up for good.
    All that ran have caught up within a minute. Prefect's own client would then sleep for two more: 2, 4, 8, 16, 32, 64, 128 s.
    """
    both = ("mmath_en", "mmath_zh")
    with sheets_api(tmp_path) as (book, url, key_file):
        book.pause = 30
        sheet = {"spreadsheet": BOOK, "service_account_file": str(key_file), "api_url": url}
        export = {"destinations": ["local", "gsheets"], "gsheets": sheet}
        sends = stack.start("simulated", {**config(tmp_path, *both, step_seconds=0.1), "export": export})
        runs = stack.start("simulated", config(tmp_path, *both, step_seconds=60, max_parallel=2))
        goes_on = stack.start("simulated", config(tmp_path, *both, step_seconds=900, max_parallel=2))
        for each in (runs, goes_on):
            wait_for(lambda each=each: list(each.states().values()) == ["Running"] * 2)  # type: ignore[misc]
        wait_for((folder_of(sends, tmp_path) / "results.json").exists)
        ends = stack.start("simulated", config(tmp_path, *both, step_seconds=0.1))
        wait_for((folder_of(ends, tmp_path) / "mmath_zh.1" / "benchmark.json").exists, pause=0.005)
        with refusing(stack, 140):
            book.pause = 0
        caught_up = time.monotonic() + 60
        later = stack.start("simulated", config(tmp_path, *both))
        taken_up = later.until("Pending", "Submitting", "Running", "Completed", seconds=caught_up - time.monotonic())
        assert taken_up, "the worker has outlived it, too"
        whole(ends, tmp_path, "local", seconds=caught_up - time.monotonic())
        whole(runs, tmp_path, "local", seconds=caught_up - time.monotonic())
        whole(sends, tmp_path, "local", "gsheets", seconds=caught_up - time.monotonic())
        assert [row[:2] for row in book.sheets["proctor"][1:]] == [[sends.id, f"mmath.{name}"] for name in both]
        assert later.until() == "Completed", later.message
        goes_on.cancel()
        assert goes_on.until() == "Cancelled", goes_on.message
        assert set(goes_on.states().values()) == {"Cancelled"}


@pytest.mark.parametrize("left", [".proctor/engine.lock", "config.yaml"], ids=["about to plan", "planned"])
def test_a_server_that_goes_away_while_an_evaluation_starts(stack: Stack, tmp_path: Path, left: str) -> None:
    run = stack.start("simulated", config(tmp_path, "mmath_en", "mmath_zh"))
    wait_for(lambda: list(tmp_path.glob(f"*-{run.id}/{left}")), pause=0.001)
    with refusing(stack, 8):
        pass
    whole(run, tmp_path, "local")


def test_a_server_that_goes_away_before_the_engine_has_reached_it(stack: Stack, tmp_path: Path) -> None:
    """Prefect's client gives up where it has never reached its server, so that engine ends: another one takes over."""
    run = stack.start("simulated", config(tmp_path, "mmath_en", "mmath_zh"))
    wait_for(lambda: run.state != "Scheduled", pause=0.005)
    with refusing(stack, 8):
        pass
    whole(run, tmp_path, "local")


@pytest.mark.timeout(600)
def test_a_worker_bears_a_server_that_fails_for_a_minute(stack: Stack, tmp_path: Path) -> None:
    """First where it takes up a run, then wherever it asks for work: a gateway before it answers 500."""
    stack.kill_worker()
    try:
        with LossyProxy(stack.api, losing="GET /api/deployments/", times=3, instead=500) as proxy:
            stack.through = proxy.url
            stack.start_worker()
            run = stack.start("simulated", config(tmp_path, "mmath_en", step_seconds=1))
            assert run.until() == "Completed", run.message
            assert len(proxy.lost) == 3
            proxy.losing = "flow_runs"
            time.sleep(60)
            proxy.losing = "nothing"
            later = stack.start("simulated", config(tmp_path, "mmath_en", step_seconds=1))
            assert later.until("Pending", "Submitting", "Running", "Completed", seconds=60), "it asks again"
            assert later.until() == "Completed", later.message
            assert stack.worker
            assert stack.worker.poll() is None
            stack.kill_worker()
    finally:
        stack.through = ""
        stack.mend()
