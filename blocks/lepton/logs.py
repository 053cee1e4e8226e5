"""Lines that a benchmark or a model server on Lepton printed, from the log that Lepton keeps."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from proctor.blocks.errors import TransientError
from proctor.blocks.job import JobHandle
from proctor.blocks.lepton.homecoming import HIDDEN
from proctor.blocks.lepton.ledger import opened
from proctor.blocks.lepton.shares import Share
from proctor.blocks.lepton.verdict import MOVED
from proctor.blocks.lepton.workspace import EARLIER, NANO, Workspace

EDGE = re.compile(rf"{HIDDEN}(begin|end) (\S+)")
"""The lines between which one benchmark has printed."""
LOCAL_PAUSE = 0.3
"""Seconds between two looks at a log that grows, of a service on this machine that bears any number of them."""
OVERLAP = 20
"""Seconds that are read again: a line may arrive later than a younger one."""


@dataclass(frozen=True, slots=True)
class Source:
    """A log: of a `job` (its id) or an `endpoint` (its name), from a time on."""

    kind: str
    name: str
    since: float
    """Seconds of the epoch."""


@dataclass(slots=True)
class Part:
    """Which lines of a job's log are shown: all, or those of one of the benchmarks that share it."""

    mark: str = ""
    """What the benchmark's lines are known by; empty for all lines."""
    inside: bool = False

    def shows(self, text: str) -> bool:
        """Whether a line is for who reads; they are asked about in their order."""
        if HIDDEN not in text:
            return self.inside or not self.mark
        if found := EDGE.search(text):
            self.inside = found[1] == "begin" and found[2] == self.mark
        return False


def last_lines(workspace: Workspace, source: Source, tail: int, part: Part | None = None) -> list[str]:
    """The end of a log."""
    shown = part or Part()
    lines = [text for _, text in workspace.log(source.kind, source.name, source.since) if shown.shows(text)]
    return lines[-tail:] if tail else []


def follow(
    workspace: Workspace, source: Source, tail: int, ended: Callable[[], bool], part: Part | None = None
) -> Iterator[str]:
    """The end of a log and what comes after, until `ended`. A lost connection is made up for from Lepton's history."""
    seen: set[tuple[int, str]] = set()
    first, wanted, since = True, part or Part(), source.since
    while True:
        over = ended()
        try:
            rows = [row for row in workspace.log(source.kind, source.name, since) if row not in seen]
        except TransientError:
            wait(workspace)
            continue
        shown = [text for _, text in rows if wanted.shows(text)]
        yield from (shown[-tail:] if tail else []) if first else shown
        seen.update(rows)
        if rows:
            first, since = False, rows[-1][0] / NANO - OVERLAP
        if over:
            return
        wait(workspace)


def course(handle: JobHandle, share: Share) -> list[str]:
    """What happened to a job that its own log does not tell."""
    with opened(handle) as page:
        moved = page.of(share.entry).moved if page else 0.0
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
