"""`make bench`: every measurement as a table. Exit 1 when one is over its bound."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import command_line, launcher, overhead, queueing, scale, slurm, start, store
from benchmarks.command_line import PROCTOR
from benchmarks.postgres import postgres
from benchmarks.table import show

STARTED = 300
"""Benchmarks of one evaluation that must start without a failed request."""


@contextmanager
def stack(database_url: str = "") -> Iterator[tuple[Path, str]]:
    """The folder and the API of a stack of our own, on SQLite or on this database."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["PROCTOR_HOME"] = home
        if database_url:
            os.environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database_url
        try:
            subprocess.run([PROCTOR, "up"], check=True)
            yield Path(home), str(json.loads((Path(home) / "server.json").read_text())["url"])
        finally:
            subprocess.run([PROCTOR, "down"], check=False)
            os.environ.pop("PREFECT_SERVER_DATABASE_CONNECTION_URL", None)


def waiting(api_url: str, database: str) -> list[bool]:
    """The tables about many evaluations and many benchmarks on one database; whether each is within its bounds."""
    rows = [*scale.measure(api_url, database, STARTED), *scale.measure(api_url, database)]
    return [
        show(f"Evaluations waiting, {database}", queueing.measure(api_url, PROCTOR)),
        show(f"Benchmarks waiting, {database}", rows),
    ]


def main() -> int:
    """Measure the command line, then orchestration on stacks of our own."""
    fine = [
        show("Command line", command_line.measure()),
        show("Slurm", slurm.measure()),
        show("Side by side with nemo-evaluator-launcher", launcher.measure()),
    ]
    with stack() as (home, api_url):
        fine.append(show("Orchestration", overhead.measure(api_url)))
        fine.append(show("Start", start.measure(api_url)))
        fine.append(show("A full state store", store.measure(home, api_url)))
        fine += waiting(api_url, "SQLite")
    with postgres() as database, stack(database) as (_, api_url):
        fine += waiting(api_url, "PostgreSQL")
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
