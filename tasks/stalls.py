"""Which benchmarks stand still: they run, but for a while no new request was answered. Pure but for its memory."""

from collections.abc import Sequence

from proctor.tasks.progress import Row


class Stalls:
    """Remembers since when each step has had the same number of requests."""

    def __init__(self, patience: float | None) -> None:
        self.patience = patience
        """Seconds; None asks for nothing."""
        self._seen: dict[str, tuple[object, float]] = {}

    def look(self, rows: Sequence[Row], now: float) -> dict[str, float]:
        """Seconds of standstill of the stalled steps, by name; `now` on any clock that only goes forward.

        A step whose harness counts no requests is never called stalled: there is no evidence.
        """
        if self.patience is None:
            return {}
        found: dict[str, float] = {}
        for row in rows:
            step, count = str(row["step"]), row["requests"]
            if row["state"] != "RUNNING" or count is None:
                self._seen.pop(step, None)
                continue
            before, since = self._seen.get(step, (None, now))
            since = since if before == count else now
            self._seen[step] = (count, since)
            if now - since >= self.patience:
                found[step] = now - since
        return found


def flagged(rows: Sequence[Row], stalled: dict[str, float]) -> list[Row]:
    """The rows, with what stands still said in words; in steps, so that not every look is a new version."""
    return [
        {**row, "message": f"stalled: no new request for {minutes(stalled[str(row['step'])])}"}
        if row["step"] in stalled
        else row
        for row in rows
    ]


def minutes(seconds: float) -> str:
    """A duration without false precision."""
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds // 60:.0f} min"
