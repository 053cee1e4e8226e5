"""How many requests were answered, told by what harnesses write while they run."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from proctor.blocks.answered import answered, told


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


def test_a_folder_on_another_machine_tells_by_text_only(tmp_path: Path) -> None:
    response_cache(tmp_path, 3)
    assert told(tmp_path) is None
    (tmp_path / ".proctor").mkdir()
    (tmp_path / ".proctor/requests").write_text("5\n")
    assert told(tmp_path) == 5


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_cache_of_another_user_tells_nothing(tmp_path: Path) -> None:
    response_cache(tmp_path, 3)
    tmp_path.chmod(0o700)
    code = (
        "import os, pathlib; from proctor.blocks.answered import answered; os.setuid(54321);"
        "print(answered(pathlib.Path('.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "None", done.stderr
