"""What Lepton's states mean, each in one row; pure.

The states are those of `LeptonJobState` and `LeptonDeploymentState` in leptonai 0.47.
"""

from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """What a state means for us."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    """Ended by a person or by us."""
    ARCHIVED = "archived"
    """Ended, and the state does not say how: the counts do."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Meaning:
    """A phase, and the state in words for a person."""

    phase: Phase
    words: str = ""


JOB_STATES = {
    "Queueing": Meaning(Phase.WAITING, "waits in Lepton's queue for capacity or quota"),
    "Awaiting": Meaning(Phase.WAITING, "waits for its start time"),
    "Starting": Meaning(Phase.WAITING, "starting: its image is pulled"),
    "Restarting": Meaning(Phase.WAITING, "Lepton starts it again"),
    "PendingRetry": Meaning(Phase.WAITING, "Lepton is about to start it again"),
    "Running": Meaning(Phase.RUNNING),
    "Completed": Meaning(Phase.COMPLETED),
    "Failed": Meaning(Phase.FAILED),
    "Stopping": Meaning(Phase.STOPPED, "is being stopped on Lepton"),
    "Stopped": Meaning(Phase.STOPPED, "was stopped on Lepton"),
    "Terminating": Meaning(Phase.STOPPED, "is being removed from Lepton"),
    "Deleting": Meaning(Phase.STOPPED, "is being removed from Lepton"),
    "Deleted": Meaning(Phase.STOPPED, "was removed from Lepton"),
    "Archived": Meaning(Phase.ARCHIVED),
}

ENDPOINT_STATES = {
    "Ready": Meaning(Phase.RUNNING, "is up"),
    "Not Ready": Meaning(Phase.WAITING, "is not ready"),
    "NotReady": Meaning(Phase.WAITING, "is not ready"),
    "Starting": Meaning(Phase.WAITING, "starting"),
    "Updating": Meaning(Phase.WAITING, "is being updated"),
    "Scaling": Meaning(Phase.WAITING, "is being scaled"),
    "Migrating": Meaning(Phase.WAITING, "moves to another node"),
    "Restarting": Meaning(Phase.WAITING, "starts again"),
    "Error": Meaning(Phase.FAILED, "is in the state Error"),
    "Stopping": Meaning(Phase.STOPPED, "is being stopped on Lepton"),
    "Stopped": Meaning(Phase.STOPPED, "was stopped on Lepton: it has no replica"),
    "Deleting": Meaning(Phase.STOPPED, "is being removed from Lepton"),
}


def job_meaning(state: str, succeeded: int, failed: int) -> Meaning:
    """What a job's state means; an archived job's counts say how it ended. A state invented later is UNKNOWN."""
    found = JOB_STATES.get(state, Meaning(Phase.UNKNOWN, f"Lepton says {state or 'nothing'}"))
    if found.phase is not Phase.ARCHIVED:
        return found
    if failed:
        return Meaning(Phase.FAILED, "archived by Lepton after it failed")
    return Meaning(Phase.COMPLETED) if succeeded else Meaning(Phase.ARCHIVED, "archived by Lepton without an outcome")


def endpoint_meaning(state: str) -> Meaning:
    """What an endpoint's phase, or its state where it has none, means."""
    return ENDPOINT_STATES.get(state, Meaning(Phase.UNKNOWN, f"is in a state that we do not know: {state or 'none'}"))


FATAL_EVENTS = {
    "ImagePullBackOff": "its image cannot be pulled; check the image and execution.image_pull_secrets",
    "ErrImageNeverPull": "its image cannot be pulled; check the image and execution.image_pull_secrets",
    "InvalidImageName": "its image has no valid name",
    "OOMKilled": "out of memory; choose a larger execution.resource_shape",
    "CreateContainerConfigError": "its container cannot be made: a secret or a mount is missing",
}
"""Events after which a job will not get better by itself, and what to do; most telling first."""
LOSING_EVENTS = ("Preempted", "Preempting", "Evicted", "NodeNotReady", "NodeLost", "Killing", "TaintManagerEviction")
"""Events of a job that lost its node by no fault of its own."""


def diagnosis(reasons: list[str]) -> tuple[str, bool]:
    """Why a job failed, from the reasons of its events, and whether another attempt may help."""
    for reason, words in FATAL_EVENTS.items():
        if reason in reasons:
            return f"{words} ({reason})", False
    lost = next((reason for reason in LOSING_EVENTS if reason in reasons), "")
    return (f"it lost its node ({lost})", True) if lost else ("", False)
