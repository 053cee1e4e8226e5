"""Something on a machine that carries our label: a container, a process, a job of a cluster."""

import re
from dataclasses import dataclass
from datetime import datetime

JOB_NAME = re.compile(r"proctor-([0-9a-f]{8})-[0-9a-f]{6}-\d+-\d+")
"""How every job of ours is named; the group is the evaluation."""


@dataclass(frozen=True, slots=True)
class Stray:
    """One such thing. Whether somebody still wants it, its evaluation's flow run says."""

    evaluation: str
    what: str
    """In words, for a person: `container proctor-...`."""
    native: str
    """How its backend finds it again."""
    since: datetime | None = None
