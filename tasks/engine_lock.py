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
LAST_WORDS = 60
"""Seconds in which an engine that has let its evaluation go reports how it ended."""
HOSTS_OWN = 0xEFFFFFFC
"""The PID namespace that is no container's (`PROC_PID_INIT_INO` of Linux)."""


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


async def silenced(name: str) -> None:
    """Wait until the engine of that name is gone: the end of its evaluation is reported only after the lock is let go.

    Not longer than `LAST_WORDS`: its process may be somebody's own, which has other things to do.
    """
    for _ in range(LAST_WORDS):
        if name == engine_name() or engine_place(name) != "alive":
            return
        await asyncio.sleep(1)


def engine_name() -> str:
    """This process as `host pid start-time pid-namespace`: no later process can be mistaken for it."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.0f} {pid_namespace()}"


def pid_namespace() -> int:
    """Which processes this one can see, as a number: a container sees its own. 0 where the system has no such thing."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0


def engine_place(name: str) -> Literal["alive", "dead", "elsewhere", "unnamed"]:
    """Whether the process of `engine_name` lives, as far as it can be seen from here.

    One in another PID namespace cannot be seen, also where the host has the same name (`docker run --network host`).
    """
    parts = name.split(" ")
    if len(parts) not in {3, 4}:  # the namespace may be missing in older ones
        return "unnamed"
    host, pid, start = parts[:3]
    if host != socket.gethostname() or (len(parts) == 4 and int(parts[3]) != pid_namespace()):
        return "elsewhere"
    try:
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - float(start)) < CLOCK_SLACK
        return "alive" if same and process.status() != psutil.STATUS_ZOMBIE else "dead"
    except psutil.NoSuchProcess:
        return "dead"


def on_this_machine(name: str) -> bool:
    """Whether jobs that the engine of this name started here are here for this process, too.

    They are for the same container made anew under its host name, and not for a container that bears the name of its host.
    """
    parts = name.split(" ")
    theirs = int(parts[3]) if len(parts) == 4 else pid_namespace()
    return parts[0] == socket.gethostname() and (theirs == HOSTS_OWN) == (pid_namespace() == HOSTS_OWN)
