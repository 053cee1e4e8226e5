"""Reading stage files, and the rule table that joins them with what the scheduler says; pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from proctor.blocks.job import JobState, StepStatus
from proctor.blocks.stages import EXIT_INTERRUPTED, EXIT_UNAVAILABLE

LOST = "lost: "
"""Begins the message of a step that ended without a word of its own and may be started again."""

CANCELLED = "cancelled"
"""Begins the words of a step that was ended on purpose; any other interruption (a reboot, say) makes it lost."""

SERVER_DIED = "server died before it "
"""Begins the words of a step that waited for it in vain; it cannot know why."""

STAGES = ("pre-start", "waiting", "running", "exit")


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage file: when, which job wrote it, and the words behind."""

    time: datetime | None
    words: str = ""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What the second witness (container engine, process table, scheduler) says about a step.

    `alive`: it exists and has not ended. `ended`: it exists and has ended, with `exit_code`. `gone`: we looked, and it
    is not there. `unseen`: we could not look.
    """

    what: str
    exit_code: int | None = None
    reason: str = ""


ALIVE, GONE, UNSEEN = Seen("alive"), Seen("gone"), Seen("unseen")


def read_folder(folder: Path, job: str) -> dict[str, Stage]:
    """The stage files in a step's output folder that this job wrote; others belong to an earlier attempt."""
    texts = {}
    for name in STAGES:
        try:
            texts[name] = (folder / f"stage.{name}").read_text(errors="replace")
        except OSError:
            continue
    return parse(texts, job)


def parse(texts: Mapping[str, str], job: str) -> dict[str, Stage]:
    """Stage files from their texts, `<time> [<exit code>] <job> [words]`, leaving out those of another job."""
    stages = {}
    for name, text in texts.items():
        fields = text.strip().split(" ", 3 if name == "exit" else 2)
        code = fields.pop(1) if name == "exit" and len(fields) > 2 else None
        if len(fields) < 2 or fields[1] != job:
            continue
        words = fields[2] if len(fields) > 2 else ""
        exit_code = int(code) if code is not None and code.lstrip("-").isdigit() else None
        stages[name] = Stage(parse_time(fields[0]), words, exit_code)
    return stages


def parse_time(text: str) -> datetime | None:
    """A UTC time as the wrapper writes it, or None when the file is damaged."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def join(stages: Mapping[str, Stage], seen: Seen) -> StepStatus:
    """How a step is doing, from both witnesses.

    | stage files  | second witness | status |
    |---|---|---|
    | exit         | anything       | final, by the exit code |
    | no exit      | alive          | RUNNING once the harness runs, else PENDING |
    | no exit      | ended          | FAILED in the witness's words; `lost:` when it was killed from outside |
    | some         | gone           | FAILED, `lost:` |
    | none         | gone, unseen   | UNKNOWN |
    | some         | unseen         | as the files say |
    """
    started = (stages.get("running") or Stage(None)).time
    if "exit" in stages:
        return ended(stages["exit"], started)
    if seen.what == "ended":
        return ended_without_words(seen, started)
    if seen.what == "gone" and stages:
        return StepStatus(JobState.FAILED, None, f"{LOST}it vanished without writing stage.exit", started)
    if "running" in stages:
        return StepStatus(JobState.RUNNING, started=started)
    if stages or seen.what == "alive":
        waiting = stages.get("waiting")
        return StepStatus(JobState.PENDING, message=waiting.words if waiting else "")
    return StepStatus(JobState.UNKNOWN, message="no trace of it yet")


def ended(stage: Stage, started: datetime | None) -> StepStatus:
    """A step that wrote its own end."""
    code = stage.exit_code
    if code is None:
        return StepStatus(JobState.FAILED, None, LOST + (stage.words or "stage.exit is damaged"), started, stage.time)
    if code == EXIT_INTERRUPTED and not stage.words.startswith(CANCELLED):
        return StepStatus(JobState.FAILED, None, LOST + (stage.words or "interrupted"), started, stage.time)
    state = {0: JobState.COMPLETED, EXIT_INTERRUPTED: JobState.CANCELLED}.get(code, JobState.FAILED)
    words = stage.words or ("" if code == 0 else f"the harness ended with exit code {code}")
    return StepStatus(state, code, words, started, stage.time)


def ended_without_words(seen: Seen, started: datetime | None) -> StepStatus:
    """A step whose wrapper was not allowed to finish; being killed from outside makes it lost, not failed."""
    if seen.reason:
        return StepStatus(JobState.FAILED, seen.exit_code, seen.reason, started)
    if seen.exit_code in {None, 0, 137, EXIT_INTERRUPTED, 255}:
        return StepStatus(JobState.FAILED, None, f"{LOST}killed from outside (exit code {seen.exit_code})", started)
    return StepStatus(
        JobState.FAILED, seen.exit_code, f"it ended with exit code {seen.exit_code} before its harness ran", started
    )


def after_server_death(status: StepStatus, server: str) -> StepStatus:
    """A step whose server died under it: the server's end is the reason, whatever the step made of it.

    A step that was ended on purpose stays so. Where both were killed from outside (the machine was restarted, for
    instance) the step is lost and may start again.
    """
    if status.state is JobState.CANCELLED:
        return status
    if lost(status) and server.startswith(LOST):
        return status
    if status.state is JobState.COMPLETED:
        return status
    if status.state is JobState.FAILED and status.exit_code == EXIT_UNAVAILABLE:
        waited = status.message.startswith(SERVER_DIED) and server
        return replace(status, message=f"{status.message}: {server}") if waited else status
    message = f"server died: {server}"
    state = JobState.FAILED if status.state.final else status.state
    code = EXIT_UNAVAILABLE if status.state.final else None
    return StepStatus(state, code, message, status.started, status.ended, status.requests)


def job_state(steps: Collection[StepStatus]) -> JobState:
    """The state of a job from those of its steps: final once all are, and then the worst of them."""
    states = {step.state for step in steps}
    for state in (JobState.RUNNING, JobState.UNKNOWN, JobState.PENDING):
        if state in states:
            begun = state is JobState.PENDING and any(other.final for other in states)
            return JobState.RUNNING if begun else state
    return next((state for state in (JobState.FAILED, JobState.CANCELLED) if state in states), JobState.COMPLETED)


def lost(status: StepStatus) -> bool:
    """Whether a step ended by no fault of its own and may be started again with its response cache."""
    return status.state is JobState.FAILED and status.exit_code is None and status.message.startswith(LOST)
