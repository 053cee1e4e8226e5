"""How a step on Lepton is doing, from what Lepton lists, what we asked for, and what the step wrote; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from proctor.blocks.job import JobState, Step, StepStatus
from proctor.blocks.lepton.ledger import Asked
from proctor.blocks.lepton.states import Meaning, Phase, job_meaning
from proctor.blocks.lepton.workspace import SeenJob
from proctor.blocks.stage_files import ALIVE, UNSEEN, Stage, join

SETTLE = 20.0
"""Seconds after which a job that was asked for and is not listed may be asked for again."""
LAST_WORDS = 30.0
"""Seconds that a volume or a log may take to show the last word of a job that has ended."""
LATE = 300.0
"""Seconds after its own clock at which a benchmark that still runs is ended from outside."""
EXIT_NO_CAPACITY = 75
EXIT_TIMEOUT = 124

MOVED = "Lepton took it off its node and runs it again"
"""What is said about a job that waits after it has run."""

TURN = "waits for its turn"
BEFORE_TURN = "its job ended before its turn came"
WHY = 60.0
"""Seconds between two questions why a job still waits."""
QUESTIONS = 5
"""How many jobs of one evaluation are asked about within that time."""

Next = Literal["", "bring home", "ask why", "give up queueing", "give up running", "stopped", "vanished"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The status of a step, and what has to be done about it."""

    status: StepStatus
    next: Next = ""


def verdict(
    stages: Mapping[str, Stage], asked: Asked, job: SeenJob | None, limits: "Limits", now: float, *, turn: bool = True
) -> Verdict:
    """How a step is doing at this time (seconds of the epoch).

    `turn`: it is the one that its job runs when that runs, or ran when that ended.

    | stage.exit | asked for | Lepton says          | verdict |
    |---|---|---|---|
    | there      | any       | any                  | final, by the exit code |
    | none       | no        | nothing              | PENDING: its turn has not come |
    | none       | just now  | nothing              | PENDING: being created |
    | none       | and known | nothing              | vanished |
    | none       | any       | queueing, starting   | PENDING in Lepton's words; given up after queue_timeout |
    | none       | any       | running              | as the stage files say; ended long after its own clock |
    | none       | any       | completed, failed, archived | its output comes home, and then it is final |
    | none       | any       | stopped, removed     | CANCELLED: a person did that |
    | none       | any       | something else       | UNKNOWN |
    """
    if "exit" in stages:
        return Verdict(join(stages, UNSEEN))
    if job is None:
        return unlisted(asked, now)
    means = job_meaning(job.state, job.succeeded, job.failed)
    if means.phase is Phase.WAITING:
        words = f"{means.words} ({asked.why})" if asked.why else means.words
        words = f"{MOVED}: it {words}" if asked.moved else words
        return Verdict(StepStatus(JobState.PENDING, message=words), while_waiting(asked, job, limits, now))
    if means.phase is Phase.RUNNING:
        status = running(stages, asked) if turn or stages else StepStatus(JobState.PENDING, message=TURN)
        late = limits.clock and asked.running and now > asked.running + limits.clock + LATE
        return Verdict(status, "give up running" if late else "")
    if means.phase is Phase.STOPPED:
        return Verdict(StepStatus(JobState.CANCELLED, None, means.words), "stopped")
    if means.phase is Phase.UNKNOWN:
        return Verdict(StepStatus(JobState.UNKNOWN, message=means.words))
    return Verdict(
        StepStatus(JobState.RUNNING, None, "its job has ended; its last word is awaited", started(stages, asked)),
        "bring home",
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in seconds."""

    queue: float
    clock: float | None = None
    """The wall-clock limits of the job's benchmarks together."""
    why: float = WHY
    """Between two questions why it waits."""

    @classmethod
    def of(cls, queue_timeout: float, together: Sequence[Step], steps: int) -> "Limits":
        """Those of a job with these benchmarks, of an evaluation with so many."""
        clocks = [each.timeout for each in together if each.timeout]
        clock = sum(clocks) if clocks and len(clocks) == len(together) else None
        return cls(queue_timeout, clock, WHY * max(1.0, steps / QUESTIONS))


def unlisted(asked: Asked, now: float) -> Verdict:
    """A step without a job on Lepton."""
    if not asked.at:
        return Verdict(StepStatus(JobState.PENDING, message=TURN))
    if asked.id and now > asked.at + SETTLE:
        return Verdict(StepStatus(JobState.UNKNOWN, message="Lepton does not list its job"), "vanished")
    return Verdict(StepStatus(JobState.PENDING, message="its job is being created"))


def while_waiting(asked: Asked, job: SeenJob, limits: Limits, now: float) -> Next:
    """What to do about a step whose job waits."""
    if waited(asked, job, now) > limits.queue:
        return "give up queueing"
    return "ask why" if now > max(asked.at, asked.looked) + limits.why else ""


def waited(asked: Asked, job: SeenJob, now: float) -> float:
    """Seconds since it was asked for, or since it lost its node."""
    return 0.0 if asked.running else now - (asked.moved or asked.at or job.created or now)


def running(stages: Mapping[str, Stage], asked: Asked) -> StepStatus:
    """A step whose job runs: where its folder can be seen, its own words count."""
    if stages:
        return join(stages, ALIVE)
    return StepStatus(JobState.RUNNING, started=started(stages, asked))


def started(stages: Mapping[str, Stage], asked: Asked) -> datetime | None:
    """When the step began to run."""
    written = stages.get("running")
    if written and written.time:
        return written.time
    return datetime.fromtimestamp(asked.running, UTC) if asked.running else None


def last_word(means: Meaning, why: str, *, may_recur: bool, trouble: str, begun: bool = True) -> tuple[str, str]:
    """Exit code and words for a step that ended without a word of its own.

    `why` is what its events say, `may_recur` that another attempt may help, `trouble` why its output did not come home,
    and `begun` whether its turn had come in a job that it shares.
    """
    if means.phase is Phase.COMPLETED:
        return "65", f"Lepton says that it completed, but its results did not come home: {trouble}"
    if not begun:
        return "lost", BEFORE_TURN
    if why:
        return ("lost", why) if may_recur else ("70", why)
    if means.phase is Phase.ARCHIVED:
        return "lost", means.words
    return "lost", "its job ended on Lepton without a word of its own"
