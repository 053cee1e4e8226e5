"""What is wrong with an evaluation's flow run, and what mends it. Pure."""

from dataclasses import dataclass
from typing import Literal

Cure = Literal["leave alone", "bring back", "finish cancelling", "release"]

SLOW_START = 120.0
"""Seconds after which a run that is Pending, or Running without ever naming its engine, counts as dead."""
NAMING = 15.0
"""Seconds in which a new engine puts its name where the name of the dead one still stands."""
SETTLE = 15.0
"""Seconds after a crash in which the automation acts, and the worker may report the crash once more."""
CANCEL_SECONDS = 45.0
"""Seconds that a worker may take to cancel: 30 until it kills the engine, then the hook."""
MOST_RUNS = 20
"""A run that died so often is not brought back again."""


@dataclass(frozen=True, slots=True)
class Found:
    """An evaluation's flow run as it stands, and what this machine knows of its engine."""

    state: str
    """Prefect's state type."""
    age: float
    """Seconds since it entered this state."""
    engine: Literal["alive", "dead", "elsewhere", "unnamed"]
    deployed: bool = True
    """Whether a worker can pick it up again."""
    jobs: bool = False
    released: bool = False
    runs: int = 1


def cure(found: Found) -> Cure:
    """What to do about it. Where the engine may be alive nothing is done: it has the evaluation's lock."""
    if found.state == "CANCELLING":
        return "finish cancelling" if found.age > CANCEL_SECONDS or found.engine == "dead" else "leave alone"
    if found.state == "CANCELLED":
        return "release" if found.jobs and not found.released else "leave alone"
    if not found.deployed or found.runs > MOST_RUNS:
        return "leave alone"
    if found.state == "CRASHED":
        return "bring back" if found.age > SETTLE and found.engine != "alive" else "leave alone"
    if found.state in {"RUNNING", "PENDING"}:
        slow = found.engine == "unnamed" or found.state == "PENDING"
        dead = found.age > SLOW_START if slow else found.engine == "dead" and found.age > NAMING
        return "bring back" if dead else "leave alone"
    return "leave alone"
