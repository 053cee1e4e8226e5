"""How fast benchmarks get on, from how many requests each had answered when. Pure but for its memory."""

from collections.abc import Sequence
from datetime import datetime

from proctor.tasks.progress import Row

WINDOW = 120.0
"""Seconds over which a rate is taken."""
SHORTEST = 5.0
"""Seconds below which two counts say nothing about a rate."""

Samples = list[tuple[float, int]]


class Rates:
    """Remembers the counts of the last minutes."""

    def __init__(self) -> None:
        self._samples: dict[str, Samples] = {}

    def rated(self, rows: Sequence[Row]) -> list[Row]:
        """The rows, with the requests answered in a minute where a benchmark runs and they are counted."""
        return [{**row, "per_minute": self._rate(row)} for row in rows]

    def _rate(self, row: Row) -> float | None:
        step, count, observed = str(row["step"]), row["requests"], row["observed"]
        if row["state"] != "RUNNING" or not isinstance(count, int) or not isinstance(observed, str):
            self._samples.pop(step, None)
            return None
        now = datetime.fromisoformat(observed).timestamp()
        samples = self._samples.setdefault(step, [])
        if samples and count < samples[-1][1]:
            samples.clear()  # another attempt, whose cache was lost
        if not samples or now > samples[-1][0]:
            samples.append((now, count))
        while len(samples) > 2 and samples[1][0] <= now - WINDOW:
            del samples[0]
        return per_minute(samples)


def per_minute(samples: Samples) -> float | None:
    """Requests a minute to two digits; None where the counts are too close together."""
    (first, before), (last, now) = samples[0], samples[-1]
    if last - first < SHORTEST:
        return None
    return float(f"{(now - before) / (last - first) * 60:.2g}")
