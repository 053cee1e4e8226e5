"""What is wrong with an evaluation's flow run, and what mends it. Pure."""

from dataclasses import dataclass
from typing import Literal

Cure = Literal["leave alone", "bring back", "call crashed", "finish cancelling", "release", "give up"]
"""What to do; `call crashed` is for runs of a user's own process, which no worker can bring back."""

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
SILENCE = 300.0
"""Without a heartbeat for so long, an engine counts as dead; ten heartbeats, because some were seen to come late."""

PREPARING = "Preparing"
"""The state of a run that `proctor run` has created and not let go yet, which takes a second."""
AWAITING_HOST = "AwaitingHost"
"""The state of a run that waits for a worker on the machine of its jobs."""


def pause_after(handed_back: int) -> float:
    """Seconds until the workers may try again, when so many on other machines have taken it before.

    Workers race for what is due, so the right one of two gets it after two tries on average. The last pause is what an
    evaluation costs whose machine stays away: the start of an engine every two minutes. The first one is longer than the
    10 s that workers look ahead (`PREFECT_WORKER_PREFETCH_SECONDS`): Prefect's own worker, with a limit, does not bear to
    be given a run whose engine it still waits for.
    """
    return float(min(15 * 2**handed_back, 120))


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
    """How often an engine took it up that could drive it."""
    silent: bool = False
    """Whether an engine elsewhere has sent no heartbeat for `SILENCE`."""
    name: str = ""
    """The state's name."""


def cure(found: Found) -> Cure:
    """What to do about it. Where the engine may be alive nothing is done: it has the evaluation's lock."""
    gone = found.engine == "dead" or (found.engine == "elsewhere" and found.silent)
    if found.name == PREPARING:
        return "give up" if found.age > SLOW_START else "leave alone"
    if found.state == "CANCELLING":
        return "finish cancelling" if found.age > CANCEL_SECONDS or found.engine == "dead" else "leave alone"
    if found.state == "CANCELLED":
        return "release" if found.jobs and not found.released else "leave alone"
    if not found.deployed:
        return "call crashed" if found.state == "RUNNING" and gone and found.age > NAMING else "leave alone"
    if found.runs > MOST_RUNS:
        return "leave alone"
    if found.state == "CRASHED":
        return "bring back" if found.age > SETTLE and found.engine != "alive" else "leave alone"
    if found.state in {"RUNNING", "PENDING"}:
        slow = found.engine == "unnamed" or found.state == "PENDING"
        dead = found.age > SLOW_START if slow else gone and found.age > NAMING
        return "bring back" if dead else "leave alone"
    return "leave alone"
