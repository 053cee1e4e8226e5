"""Which benchmarks stand still: they run, but for a while no new request was answered. Pure but for its memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from proctor.tasks.progress import Row


@dataclass(frozen=True, slots=True)
class Standstill:
    """Since when a step has had this number of requests, and when that was last confirmed."""

    count: object
    since: float
    observed: object
    confirmed: float


class Stalls:
    """Remembers since when each step has had the same number of requests."""

    def __init__(self, patience: float | None) -> None:
        self.patience = patience
        """Seconds; None asks for nothing."""
        self._seen: dict[str, Standstill] = {}

    def look(self, rows: Sequence[Row], now: float) -> dict[str, float]:
        """Seconds of standstill of the stalled steps, by name; `now` on any clock that only goes forward.

        A step whose harness counts no requests is never called stalled: there is no evidence. While nobody sees the step,
        its standstill does not grow.
        """
        if self.patience is None:
            return {}
        found: dict[str, float] = {}
        for row in rows:
            step = str(row["step"])
            if row["state"] != "RUNNING" or row["requests"] is None:
                self._seen.pop(step, None)
                continue
            seen = self._seen[step] = self._fresh(step, row, now)
            if seen.confirmed - seen.since >= self.patience:
                found[step] = seen.confirmed - seen.since
        return found

    def _fresh(self, step: str, row: Row, now: float) -> Standstill:
        before = self._seen.get(step)
        if before is None or before.count != row["requests"]:
            return Standstill(row["requests"], now, row["observed"], now)
        if before.observed == row["observed"]:
            return before
        return replace(before, observed=row["observed"], confirmed=now)


def flagged(rows: Sequence[Row], words: Mapping[str, str]) -> list[Row]:
    """The rows, with what stands still, or was ended for that, said in these words, by step."""
    return [
        {**row, "message": words[str(row["step"])]}
        if row["step"] in words and row["state"] in {"RUNNING", "CANCELLED"}
        else row
        for row in rows
    ]


def stalled_for(seconds: float) -> str:
    """A standstill in words; in steps, so that not every look is a new version."""
    return f"stalled: no new request for {minutes(seconds)}"


def minutes(seconds: float) -> str:
    """A duration without false precision."""
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds // 60:.0f} min"
