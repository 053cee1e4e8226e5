"""States in one table, and what follows from them: pure."""

import pytest
from leptonai.api.v2.types.deployment import LeptonDeploymentState
from leptonai.api.v2.types.job import LeptonJobState

from proctor.blocks.job import JobState
from proctor.blocks.lepton.ledger import Asked
from proctor.blocks.lepton.states import ENDPOINT_STATES, JOB_STATES, Phase, endpoint_meaning, job_meaning
from proctor.blocks.lepton.verdict import Limits, last_word, verdict
from proctor.blocks.lepton.workspace import SeenJob
from proctor.blocks.stage_files import Stage

NOW = 1_000_000.0
LIMITS = Limits(queue=3600, clock=60)


def test_every_state_of_the_sdk_has_a_meaning() -> None:
    assert {state.value for state in LeptonJobState} - {"UNK"} <= JOB_STATES.keys()
    assert {state.value for state in LeptonDeploymentState} - {"UNK"} <= ENDPOINT_STATES.keys()


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ("Queueing", Phase.WAITING),
        ("Awaiting", Phase.WAITING),
        ("Starting", Phase.WAITING),
        ("Restarting", Phase.WAITING),
        ("PendingRetry", Phase.WAITING),
        ("Running", Phase.RUNNING),
        ("Completed", Phase.COMPLETED),
        ("Failed", Phase.FAILED),
        ("Stopping", Phase.STOPPED),
        ("Stopped", Phase.STOPPED),
        ("Terminating", Phase.STOPPED),
        ("Deleting", Phase.STOPPED),
        ("Deleted", Phase.STOPPED),
        ("Invented", Phase.UNKNOWN),
        ("", Phase.UNKNOWN),
    ],
)
def test_job_states(state: str, phase: Phase) -> None:
    assert job_meaning(state, 0, 0).phase is phase


@pytest.mark.parametrize(
    ("succeeded", "failed", "phase"), [(1, 0, Phase.COMPLETED), (0, 1, Phase.FAILED), (0, 0, Phase.ARCHIVED)]
)
def test_an_archived_job_is_judged_by_its_counts(succeeded: int, failed: int, phase: Phase) -> None:
    assert job_meaning("Archived", succeeded, failed).phase is phase


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ("Ready", Phase.RUNNING),
        ("Not Ready", Phase.WAITING),
        ("NotReady", Phase.WAITING),
        ("Starting", Phase.WAITING),
        ("Updating", Phase.WAITING),
        ("Scaling", Phase.WAITING),
        ("Migrating", Phase.WAITING),
        ("Restarting", Phase.WAITING),
        ("Error", Phase.FAILED),
        ("Stopping", Phase.STOPPED),
        ("Stopped", Phase.STOPPED),
        ("Deleting", Phase.STOPPED),
        ("Invented", Phase.UNKNOWN),
    ],
)
def test_endpoint_states(state: str, phase: Phase) -> None:
    assert endpoint_meaning(state).phase is phase


def seen(state: str) -> SeenJob:
    return SeenJob("proctor-x-0-ab12", "proctor-x-0", state)


KNOWN = Asked(at=NOW - 100, id="proctor-x-0-ab12")


@pytest.mark.parametrize(
    ("asked", "job", "state", "then"),
    [
        (Asked(), None, JobState.PENDING, ""),
        (Asked(at=NOW - 5, id="x"), None, JobState.PENDING, ""),
        (KNOWN, None, JobState.UNKNOWN, "vanished"),
        (Asked(at=NOW - 5), seen("Queueing"), JobState.PENDING, ""),
        (KNOWN, seen("Queueing"), JobState.PENDING, "ask why"),
        (Asked(at=NOW - 4000, id="x"), seen("Queueing"), JobState.PENDING, "give up queueing"),
        (Asked(at=NOW - 4000, id="x", running=NOW - 10), seen("Queueing"), JobState.PENDING, "ask why"),
        (KNOWN, seen("Running"), JobState.RUNNING, ""),
        (Asked(at=NOW - 900, id="x", running=NOW - 800), seen("Running"), JobState.RUNNING, "give up running"),
        (KNOWN, seen("Completed"), JobState.RUNNING, "bring home"),
        (KNOWN, seen("Failed"), JobState.RUNNING, "bring home"),
        (KNOWN, seen("Archived"), JobState.RUNNING, "bring home"),
        (KNOWN, seen("Stopped"), JobState.CANCELLED, "stopped"),
        (KNOWN, seen("Deleting"), JobState.CANCELLED, "stopped"),
        (KNOWN, seen("Invented"), JobState.UNKNOWN, ""),
    ],
)
def test_what_is_seen_and_what_follows(asked: Asked, job: SeenJob | None, state: JobState, then: str) -> None:
    found = verdict({}, asked, job, LIMITS, NOW)
    assert (found.status.state, found.next) == (state, then)


@pytest.mark.parametrize("job", [None, seen("Running"), seen("Failed"), seen("Deleting"), seen("Invented")])
def test_the_step_s_own_last_word_counts_whatever_lepton_says(job: SeenJob | None) -> None:
    found = verdict({"exit": Stage(None, "", 0)}, KNOWN, job, LIMITS, NOW)
    assert (found.status.state, found.next) == (JobState.COMPLETED, "")


@pytest.mark.parametrize(
    ("state", "why", "may_recur", "code", "words"),
    [
        ("Completed", "", False, "65", "its results did not come home: 3 lines are missing"),
        ("Failed", "out of memory (OOMKilled)", False, "70", "out of memory (OOMKilled)"),
        ("Failed", "it lost its node (Preempted)", True, "lost", "it lost its node (Preempted)"),
        ("Failed", "", False, "lost", "without a word of its own"),
        ("Archived", "", False, "lost", "archived by Lepton without an outcome"),
    ],
)
def test_the_last_word_of_a_step_that_cannot_speak(
    state: str, why: str, may_recur: bool, code: str, words: str
) -> None:
    found = last_word(job_meaning(state, 0, 0), why, may_recur=may_recur, trouble="3 lines are missing")
    assert found[0] == code
    assert words in found[1]
