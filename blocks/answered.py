"""How many requests a running harness has had answered, read from what is written while it runs."""

import sqlite3
from contextlib import closing
from pathlib import Path

COUNT = "progress"
"""NeMo Evaluator's `progress_tracking` interceptor writes the number there where its `output_dir` is set."""

WRITTEN = ".proctor/requests"
"""Where the wrapper writes it, for whoever sees the folder from another machine."""

CACHE = "cache/responses/cache.db"
"""Where its caching interceptor, on by default, keeps every answer: a `diskcache` database."""


def answered(folder: Path) -> int | None:
    """The requests answered so far of the benchmark with this output folder on this machine; None where nothing tells."""
    count = told(folder)
    return cached(folder / CACHE) if count is None else count


def told(folder: Path) -> int | None:
    """The same from text alone: a database in use on one machine must not be opened on another."""
    for name in (COUNT, WRITTEN):
        try:
            return int((folder / name).read_text())
        except (OSError, ValueError):
            continue
    return None


def cached(database: Path) -> int | None:
    """The number of answers in a response cache. One that is being made, is locked or another user's tells nothing now."""
    try:
        if not database.exists():
            return None
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=0.2)) as cache:
            (count,) = cache.execute("select value from Settings where key = 'count'").fetchone()
            return int(count)
    except (OSError, sqlite3.Error, TypeError, ValueError):
        return None
