"""What the states and reasons of Slurm mean for us; one table."""

import re
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """What a job's state means for its steps."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"
    """By itself: each step has said how."""
    CANCELLED = "cancelled"
    LOST = "lost"
    """Ended by no fault of its own: worth another attempt."""
    FAILED = "failed"
    """Ended in a way that another attempt would repeat."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Meaning:
    """A phase, and the state in words."""

    phase: Phase
    words: str


STATES = {
    "PENDING": Meaning(Phase.WAITING, "pending"),
    "CONFIGURING": Meaning(Phase.WAITING, "its nodes are being prepared"),
    "REQUEUED": Meaning(Phase.WAITING, "requeued by Slurm"),
    "REQUEUE_FED": Meaning(Phase.WAITING, "requeued by the federation"),
    "REQUEUE_HOLD": Meaning(Phase.WAITING, "requeued and held"),
    "RESV_DEL_HOLD": Meaning(Phase.WAITING, "held: its reservation was deleted"),
    "SPECIAL_EXIT": Meaning(Phase.WAITING, "held in a special exit state"),
    "EXPEDITING": Meaning(Phase.WAITING, "requeued with priority"),
    "RUNNING": Meaning(Phase.RUNNING, "running"),
    "COMPLETING": Meaning(Phase.RUNNING, "ending"),
    "SUSPENDED": Meaning(Phase.RUNNING, "suspended by Slurm"),
    "STOPPED": Meaning(Phase.RUNNING, "stopped by a signal, keeping its nodes"),
    "RESIZING": Meaning(Phase.RUNNING, "changing its size"),
    "SIGNALING": Meaning(Phase.RUNNING, "being signalled"),
    "STAGE_OUT": Meaning(Phase.RUNNING, "staging files out"),
    "COMPLETED": Meaning(Phase.ENDED, "completed"),
    "FAILED": Meaning(Phase.ENDED, "failed"),
    "CANCELLED": Meaning(Phase.CANCELLED, "cancelled"),
    "TIMEOUT": Meaning(Phase.LOST, "the walltime was over"),
    "PREEMPTED": Meaning(Phase.LOST, "preempted by another job"),
    "NODE_FAIL": Meaning(Phase.LOST, "its node failed"),
    "BOOT_FAIL": Meaning(Phase.LOST, "its node did not boot"),
    "LAUNCH_FAILED": Meaning(Phase.LOST, "its node could not start it"),
    "OUT_OF_MEMORY": Meaning(Phase.FAILED, "out of memory; ask for more with execution.memory"),
    "DEADLINE": Meaning(Phase.FAILED, "it could not end before its deadline"),
    "REVOKED": Meaning(Phase.UNKNOWN, "revoked: another cluster of the federation runs it"),
}

NEVER = re.compile(
    r"DependencyNeverSatisfied|PartitionTimeLimit|PartitionNodeLimit|(QOS|Assoc)M(ax|in)\w*PerJob|QOSMin|BadConstraints"
    r"|Invalid(Account|QOS)|(Account|QOS)NotAllowed|JobHeld(Admin|User)|requeued held|requeued in held state"
    r"|JobHoldMaxRequeue|PartitionDown|PartitionInactive|ReservationDeleted"
)
"""Reasons that waiting alone does not change."""

LIMIT = re.compile(r"(Assoc|QOS)(Grp|Max)|JobArrayTaskLimit")
"""Limits of an account or a quality of service; whether they leave room for this job at all, Slurm does not say."""

GAVE_UP = "NEVER_"
"""Begins what is kept as the reason of a job that we cancelled because Slurm would never have started it."""

FORGOTTEN = "FORGOTTEN"
"""Is kept as the reason of a job that Slurm's controller, when it was killed, had not written down yet. Afterwards it has no
such job, or takes one that it had started for pending: it calls it cancelled when it hears of its end, or starts it again."""


def meaning(state: str) -> Meaning:
    """The meaning of a state as squeue or sacct print it, for instance `CANCELLED by 1001`."""
    if state.startswith(GAVE_UP):
        return Meaning(
            Phase.FAILED, f"Slurm would never have started it ({state.removeprefix(GAVE_UP)}), so it was cancelled"
        )
    if state == FORGOTTEN:
        return Meaning(Phase.LOST, "Slurm's controller was killed and has forgotten it")
    match = re.match(r"[A-Z_]+", state)
    name = match[0] if match else ""
    return STATES.get(name, Meaning(Phase.UNKNOWN, f"Slurm calls it {state or 'nothing'}"))


def outlook(reason: str) -> str:
    """When a pending job may start, in words, where waiting alone may not do; empty where it is only a matter of time."""
    if NEVER.search(reason):
        return "will never start by itself"
    return "a limit: it starts when other jobs leave room for it, or never" if LIMIT.search(reason) else ""
