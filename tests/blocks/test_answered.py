"""How many requests were answered, told by what harnesses write while they run."""

import sqlite3
from pathlib import Path

from proctor.blocks.answered import answered


def response_cache(folder: Path, count: int) -> sqlite3.Connection:
    """A response cache as `diskcache` lays it out, still open in its harness."""
    (folder / "cache/responses").mkdir(parents=True)
    database = sqlite3.connect(folder / "cache/responses/cache.db")
    database.execute("pragma journal_mode = wal")
    database.execute("create table Settings (key text not null unique, value)")
    database.execute("insert into Settings values ('count', ?)", (count,))
    database.commit()
    return database


def test_the_response_cache_tells_while_its_harness_writes(tmp_path: Path) -> None:
    database = response_cache(tmp_path, 3)
    assert answered(tmp_path) == 3
    database.execute("update Settings set value = 7 where key = 'count'")
    assert answered(tmp_path) == 3
    database.commit()
    assert answered(tmp_path) == 7


def test_a_count_of_the_harness_comes_first(tmp_path: Path) -> None:
    response_cache(tmp_path, 3)
    (tmp_path / "progress").write_text("12")
    assert answered(tmp_path) == 12


def test_a_folder_that_tells_nothing(tmp_path: Path) -> None:
    assert answered(tmp_path) is None
    (tmp_path / "cache/responses").mkdir(parents=True)
    (tmp_path / "cache/responses/cache.db").write_text("half of a file")
    assert answered(tmp_path) is None
