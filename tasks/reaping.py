"""What may be ended although nobody asks for it: things of ours whose evaluation is over for good. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from proctor.blocks.stray import Stray

GRACE = 600.0
"""Seconds after the end of an evaluation in which it may still be letting go by itself."""
COMEBACK = timedelta(days=1)
"""A crashed evaluation that nobody brought back for so long is over."""
FORGOTTEN = timedelta(days=3)
"""One whose backend was out of sight and that nobody resumed for so long is over: what it left may cost money."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The flow run of an evaluation: how it stands, and since when."""

    type: str
    name: str
    since: datetime


def reapable(strays: Collection[Stray], runs: Mapping[str, Ended], now: datetime, grace: float) -> list[Stray]:
    """The strays that nobody wants any more; `runs` by evaluation, as far as this server knows them.

    What belongs to an evaluation that the server does not know is somebody else's, and stays.
    """
    return [stray for stray in strays if stray.evaluation in runs and over(runs[stray.evaluation], stray, now, grace)]


def over(run: Ended, stray: Stray, now: datetime, grace: float) -> bool:
    """Whether this evaluation will never ask for this again; one that was out of sight may be resumed for a while."""
    patience = timedelta(seconds=grace)
    if run.type == "CRASHED":
        patience = max(patience, COMEBACK)
    elif run.name == "Unavailable":
        patience = max(patience, FORGOTTEN)
    elif run.type not in {"COMPLETED", "FAILED", "CANCELLED"}:
        return False
    young = stray.since is not None and now - stray.since < timedelta(seconds=grace)
    return now - run.since >= patience and not young


def settled(run: Ended, now: datetime, *, jobs: bool) -> bool:
    """Whether an evaluation needs nothing any more that was handed to it; `jobs` says that some may be left to release."""
    if run.type not in {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}:
        return False
    patience = FORGOTTEN if run.name == "Unavailable" else COMEBACK if jobs or run.type == "CRASHED" else timedelta()
    return now - run.since >= patience


PLACE = (
    "type",
    "docker_host",
    "hostname",
    "username",
    "ssh_key_path",
    "ssh_control_path",
    "ssh_config",
    "workspace",
    "workspace_url",
    "token",
    "options",
)
"""What of an `execution:` section says which machine is meant."""


def place(execution: Mapping[str, Any]) -> str:
    """The same for two sections that mean the same machine."""
    return repr([(key, execution.get(key)) for key in PLACE])
