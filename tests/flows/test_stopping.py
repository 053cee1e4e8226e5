"""A worker that is told to end does, at whatever moment and however it was started: systemd sends TERM."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows.stack import Run, Stack
from tests.flows.test_evaluate import config
from tests.waiting import wait_for

pytestmark = pytest.mark.live

IN_THE_BACKGROUND = ("sh", "-c", 'trap "" INT; exec "$0" "$@"')
"""As a script's shell starts what it does not wait for: deaf to Ctrl-C, which its processes inherit."""


def log(stack: Stack) -> str:
    return (stack.home / "worker.log").read_text()


@pytest.fixture
def alone(stack: Stack) -> Iterator[Stack]:
    """The stack without its worker, which is there again afterwards."""
    stack.kill_worker()
    yield stack
    if stack.worker and stack.worker.poll() is None:
        stack.kill_worker()
    stack.mend()


def begins(stack: Stack, _tmp_path: Path) -> None:
    """It has just said what TERM shall mean to it, and talks to the server for the first time."""
    assert stack.worker
    status = Path(f"/proc/{stack.worker.pid}/status")
    wait_for(
        lambda: int(re.findall(r"SigCgt:\s*(\w+)", status.read_text())[0], 16) >> (signal.SIGTERM - 1) & 1, 90, 0.01
    )


def waits(stack: Stack, _tmp_path: Path) -> None:
    """It has nothing to do."""
    before = len(log(stack))
    wait_for(lambda: "started!" in log(stack)[before:])
    time.sleep(1)


def takes_up(stack: Stack, tmp_path: Path) -> Run:
    """It is starting the engine of an evaluation."""
    run = stack.start("simulated", config(tmp_path, "mmath_en", step_seconds=20))
    wait_for(lambda: run.state != "Scheduled", pause=0.01)
    return run


def looks_after(stack: Stack, tmp_path: Path) -> Run:
    """Its engine is driving an evaluation."""
    run = stack.start("simulated", config(tmp_path, "mmath_en", step_seconds=20))
    wait_for(lambda: run.states() == {"mmath_en": "Running"})
    return run


def is_cut_off(stack: Stack, tmp_path: Path) -> None:
    """Its server is away."""
    waits(stack, tmp_path)
    stack.kill_server()
    time.sleep(5)


Moment = Callable[[Stack, Path], Any]


@pytest.mark.parametrize(
    ("moment", "before"),
    [
        (waits, ()),
        (begins, IN_THE_BACKGROUND),
        (waits, IN_THE_BACKGROUND),
        (takes_up, IN_THE_BACKGROUND),
        (looks_after, IN_THE_BACKGROUND),
        (is_cut_off, IN_THE_BACKGROUND),
    ],
    ids=["waits, as it is", "begins", "waits", "takes up", "looks after", "is cut off"],
)
def test_a_worker_ends_when_it_is_told_to(
    alone: Stack, tmp_path: Path, moment: Moment, before: tuple[str, ...]
) -> None:
    alone.start_worker(*before)
    assert alone.worker
    run = moment(alone, tmp_path)
    os.kill(alone.worker.pid, signal.SIGTERM)
    alone.worker.wait(45)
    if run:
        run.abandon()
