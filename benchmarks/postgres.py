"""A PostgreSQL server of our own for a measurement."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

SCRIPT = Path(__file__).parent.parent / "scripts" / "start-postgres"


@contextmanager
def postgres() -> Iterator[str]:
    """Prefect's URL of an empty database; its server, and nothing else, ends with the block."""
    said = subprocess.run([SCRIPT], check=True, text=True, stdout=subprocess.PIPE).stdout.split()
    folder, pid, url = Path(said[0]), int(said[1]), said[2]
    server = psutil.Process(pid)
    try:
        yield url
    finally:
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + 30
        while server.is_running() and server.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            time.sleep(0.2)
        shutil.rmtree(folder, ignore_errors=True)
