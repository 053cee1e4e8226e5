"""One engine for each evaluation: the second of two processes that drive the same one waits for the first."""

import asyncio
import fcntl
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import psutil

CLOCK_SLACK = 2.0
"""Seconds by which a process's start time may seem to move when the clock of the machine is set."""


@asynccontextmanager
async def engine_lock(output_dir: Path) -> AsyncIterator[bool]:
    """Hold the evaluation's lock inside the block; the value says whether we had to wait for another engine.

    The operating system frees it when this process ends in any way, so a dead engine never blocks the next one.
    """
    folder = output_dir / ".proctor"
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "engine.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        waited = False
        while not _taken(descriptor):
            waited = True
            await asyncio.sleep(0.5)
        yield waited
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def engine_name() -> str:
    """This process as `host pid start-time`: no later process can be mistaken for it."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.0f}"


def engine_place(name: str) -> Literal["alive", "dead", "elsewhere", "unnamed"]:
    """Whether the process of `engine_name` lives, as far as it can be seen from this host."""
    if name.count(" ") != 2:
        return "unnamed"
    host, pid, start = name.split(" ")
    if host != socket.gethostname():
        return "elsewhere"
    try:
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - float(start)) < CLOCK_SLACK
        return "alive" if same and process.status() != psutil.STATUS_ZOMBIE else "dead"
    except psutil.NoSuchProcess:
        return "dead"
