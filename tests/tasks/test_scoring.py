"""The commit that a result carries is Proctor's own, or none."""

import subprocess
from pathlib import Path

import pytest

from proctor.tasks.scoring import commit


def checkout(folder: Path, file: str) -> str:
    """A checkout with one file in it; the answer is its commit."""
    (folder / file).parent.mkdir(parents=True)
    (folder / file).write_text("x = 1\n")
    who = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    for arguments in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "x"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_our_own_checkout_is_named_and_whether_it_was_changed(tmp_path: Path) -> None:
    head = checkout(tmp_path, "tasks/scoring.py")
    assert commit(tmp_path / "tasks") == head
    commit.cache_clear()
    (tmp_path / "tasks/scoring.py").write_text("x = 2\n")
    assert commit(tmp_path / "tasks") == f"{head}-dirty"


@pytest.mark.parametrize("place", [".venv/lib/python3/site-packages/proctor/tasks", "src/tasks"])
def test_a_wheel_inside_somebody_elses_checkout_has_none(tmp_path: Path, place: str) -> None:
    checkout(tmp_path, f"{place}/scoring.py")
    assert commit(tmp_path / place) is None
    assert commit(tmp_path) is None
