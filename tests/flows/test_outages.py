"""The Prefect server or its database is away for a while: nothing is lost, results are exported, states catch up."""

import json
import os
import signal
import sqlite3
import time
from pathlib import Path

import psutil
import pytest

from tests.flows.stack import Stack, wait_for
from tests.flows.test_evaluate import config

pytestmark = pytest.mark.live


def test_a_locked_database_delays_and_loses_nothing(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("simulated", config(tmp_path, "mmath_en", "mmath_zh", step_seconds=2))
    wait_for(lambda: run.states().get("mmath_en") == "Running", 60)
    with sqlite3.connect(stack.home / "prefect.db", timeout=60, isolation_level=None) as database:
        database.execute("begin immediate")
        time.sleep(25)
        database.execute("rollback")
    assert run.until(seconds=240) == "Completed", run.message
    assert run.states() == {"mmath_en": "Completed", "mmath_zh": "Completed"}
    assert len(json.loads((run.folder / "results.json").read_text())["benchmarks"]) == 2
    assert len(run.artifact("results")["benchmarks"]) == 2


def test_a_server_that_does_not_answer_for_a_minute(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("simulated", config(tmp_path, "mmath_en", "mmath_zh", step_seconds=3))
    wait_for(lambda: run.states().get("mmath_en") == "Running", 60)
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
    assert run.until(seconds=180) == "Completed", run.message
    assert run.states() == {"mmath_en": "Completed", "mmath_zh": "Completed"}
    assert (run.folder / "results.json").exists()
