"""A workload that only says that it runs: its states by the clock."""

import time
from dataclasses import dataclass, field
from typing import Protocol

Steps = list[tuple[str, float | None]]
"""States and how many seconds each lasts; None for ever."""
ENDED = frozenset({"Completed", "Failed", "Stopped", "Archived", "Deleted"})
JOB: Steps = [("Queueing", 0.1), ("Starting", 0.1), ("Running", 0.3), ("Completed", None)]
ENDPOINT: Steps = [("Starting", 0.2), ("Ready", None)]
NEVER_PULLED: Steps = [("Queueing", 0.1), ("Starting", None)]


class Driver(Protocol):
    """What makes a workload run, or look so."""

    def state(self) -> str:
        """Its state now."""

    def visited(self) -> list[str]:
        """All its states so far, oldest first."""

    def ended(self) -> float | None:
        """Seconds of the epoch at which it ended; None while it has not."""

    def halt(self) -> None:
        """End it; returns at once."""

    def busy(self) -> bool:
        """Whether it still ends after `halt`."""


@dataclass
class Script:
    """States by the clock, from now on."""

    steps: Steps
    began: float = field(default_factory=time.time)

    def visited(self) -> list[str]:
        left, found = time.time() - self.began, []
        for state, seconds in self.steps:
            found.append(state)
            if seconds is None or left < seconds:
                break
            left -= seconds
        return found

    def state(self) -> str:
        return self.visited()[-1]

    def ended(self) -> float | None:
        at = self.began
        for state, seconds in self.steps:
            if state in ENDED:
                return at if at <= time.time() else None
            if seconds is None:
                return None
            at += seconds
        return None

    def halt(self) -> None:
        """Nothing runs."""

    def busy(self) -> bool:
        return False
