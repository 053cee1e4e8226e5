"""$PROCTOR_HOME: what this machine's stack leaves on disk, so that the next command finds it again."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from proctor.configs.host_env import proctor_home


@dataclass(frozen=True, slots=True)
class Record:
    """A background process that we started: a later process of the same pid has another start time."""

    pid: int
    created: float
    url: str
    """The Prefect API that it serves or works for."""
    version: str
    """What it was started from: another version is set up again."""


def home() -> Path:
    """The folder, which nobody else may enter."""
    folder = proctor_home()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def log_file(name: str) -> Path:
    """Where a background process writes."""
    return proctor_home() / f"{name}.log"


def limit_file() -> Path:
    """Where `proctor up --limit` keeps how many evaluations run at a time."""
    return proctor_home() / "limit"


def read_record(name: str) -> Record | None:
    """The record of `server` or `worker`; None when there is none, or none that can be read."""
    try:
        return Record(**json.loads((proctor_home() / f"{name}.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_record(name: str, record: Record) -> None:
    """Keep a record, written whole."""
    path = home() / f"{name}.json"
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(record)))
    temporary.rename(path)


def forget_record(name: str) -> None:
    """There is no such process any more."""
    (proctor_home() / f"{name}.json").unlink(missing_ok=True)


@contextmanager
def locked() -> Iterator[None]:
    """Only one process of this user changes the stack at a time; the others wait."""
    descriptor = os.open(home() / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
