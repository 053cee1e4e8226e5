"""How many requests a running harness has had answered, read from what it writes while it runs."""

import sqlite3
from contextlib import closing
from pathlib import Path

COUNT = "progress"
"""NeMo Evaluator's `progress_tracking` interceptor writes the number there where its `output_dir` is set."""

CACHE = "cache/responses/cache.db"
"""Where its caching interceptor, on by default, keeps every answer: a `diskcache` database."""


def answered(folder: Path) -> int | None:
    """The requests answered so far of the benchmark with this output folder; None where nothing tells."""
    try:
        return int((folder / COUNT).read_text())
    except (OSError, ValueError):
        return cached(folder / CACHE)


def cached(database: Path) -> int | None:
    """The number of answers in a response cache. One that is being made, or is locked, tells nothing now."""
    if not database.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=0.2)) as cache:
            (count,) = cache.execute("select value from Settings where key = 'count'").fetchone()
            return int(count)
    except (sqlite3.Error, TypeError, ValueError):
        return None
