"""Reading a log file's end, and following it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

INTERVAL = 0.2


def last_lines(path: Path, count: int, end: int | None = None) -> list[str]:
    """The last lines of a file (up to a position), without their line ends; none when it is not there."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2) if end is None else end
            start = file.seek(max(0, size - 65536 - 200 * count))
            lines = file.read(size - start).decode(errors="replace").splitlines()
    except OSError:
        return []
    return lines[-count:] if count else []


def line_start(path: Path) -> int:
    """Where the last, perhaps unfinished, line of a file begins."""
    size = path.stat().st_size if path.exists() else 0
    return read_from(path, max(0, size - 65536), whole=False)[1]


def follow(path: Path, tail: int, ended: Callable[[], bool]) -> Iterator[str]:
    """The last `tail` lines, then each new one until `ended` says so and nothing more has come."""
    position = line_start(path)
    yield from last_lines(path, tail, position)
    while True:
        last = ended()
        text, position = read_from(path, position, whole=last)
        yield from text.splitlines()
        if last:
            return
        time.sleep(INTERVAL)


def read_from(path: Path, position: int, *, whole: bool) -> tuple[str, int]:
    """What a file holds behind a position, up to the last line end (or the end of the file), and the new position."""
    if not path.exists():
        return "", position
    with path.open("rb") as file:
        file.seek(position)
        data = file.read()
    cut = len(data) if whole else data.rfind(b"\n") + 1
    return data[:cut].decode(errors="replace"), position + cut
