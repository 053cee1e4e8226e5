"""Lines that a benchmark or a model server on Lepton printed, from the log that Lepton keeps."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from proctor.blocks.errors import TransientError
from proctor.blocks.job import JobHandle
from proctor.blocks.lepton.homecoming import HIDDEN
from proctor.blocks.lepton.ledger import opened
from proctor.blocks.lepton.verdict import MOVED
from proctor.blocks.lepton.workspace import EARLIER, NANO, Workspace

LOCAL_PAUSE = 0.3
"""Seconds between two looks at a log that grows, of a service on this machine that bears any number of them."""
OVERLAP = 20
"""Seconds that are read again: a line may arrive later than a younger one."""


def last_lines(workspace: Workspace, kind: str, name: str, since: float, tail: int) -> list[str]:
    """The end of a log."""
    lines = [text for _, text in workspace.log(kind, name, since) if HIDDEN not in text]
    return lines[-tail:] if tail else []


def follow(
    workspace: Workspace, kind: str, name: str, since: float, tail: int, ended: Callable[[], bool]
) -> Iterator[str]:
    """The end of a log and what comes after, until `ended`. A lost connection is made up for from Lepton's history."""
    seen: set[tuple[int, str]] = set()
    first = True
    while True:
        over = ended()
        try:
            rows = [row for row in workspace.log(kind, name, since) if row not in seen]
        except TransientError:
            wait(workspace)
            continue
        shown = [text for _, text in rows if HIDDEN not in text]
        yield from (shown[-tail:] if tail else []) if first else shown
        seen.update(rows)
        if rows:
            first, since = False, rows[-1][0] / NANO - OVERLAP
        if over:
            return
        wait(workspace)


def course(handle: JobHandle, step: str) -> list[str]:
    """What happened to a step's job that its own log does not tell."""
    with opened(handle) as page:
        moved = page.of(step).moved if page else 0.0
    return [f"proctor: {MOVED} ({datetime.fromtimestamp(moved, UTC):%Y-%m-%dT%H:%M:%SZ})"] if moved else []


def beginning(created: float) -> float:
    """From when the log of something is read, by Lepton's time of its creation."""
    return (created or time.time()) - EARLIER


def wait(workspace: Workspace) -> None:
    """The pause between two looks."""
    time.sleep(pause_for(workspace))


def pause_for(workspace: Workspace) -> float:
    """Seconds between two looks."""
    return workspace.execution.shortest_interval or LOCAL_PAUSE
