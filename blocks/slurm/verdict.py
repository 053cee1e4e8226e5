"""How a job is doing, from what Slurm says and what its steps wrote; pure rules, tested row by row."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from proctor.blocks.job import JobHandle, JobState, JobStatus, ServerStatus, StepStatus
from proctor.blocks.slurm.parse import Evidence, Facts, moment
from proctor.blocks.slurm.states import FORGOTTEN, STATES, Meaning, Phase, meaning, outlook
from proctor.blocks.stage_files import ALIVE, GONE, LOST, UNSEEN, Stage, after_server_death, ended, join, lost
from proctor.blocks.stage_files import CANCELLED as MEANT
from proctor.blocks.stage_files import job_state as worst_of
from proctor.blocks.stages import EXIT_INTERRUPTED

EXIT_CANNOT_WRITE = 73
"""A job that could not write into its own folder (EX_CANTCREAT of sysexits.h)."""

STARVED = "out of memory: the kernel killed a process of it"
"""What the wrapper says about a harness that had too little memory."""

LAST_WORDS = 30.0
"""Seconds that a shared file system may take to show the last word of a job that has ended."""


def verdict(handle: JobHandle, seen: Evidence, now: datetime) -> JobStatus:
    """The status of a job, seen at this UTC time."""
    means = what_it_means(seen)
    fresh = seen.ended_for is not None and seen.ended_for < LAST_WORDS
    steps = {
        name: replace(step_status(seen, number, means, fresh=fresh), requests=seen.requests.get(number))
        for number, name in enumerate(handle.steps)
    }
    server = server_status(handle.name, seen, means, now)
    if server and server.state is JobState.FAILED:
        died = moment(server_words(handle.name, seen, "exit")[0])
        steps = {name: without_server(status, server.message, died, means) for name, status in steps.items()}
    state = job_state(steps, means)
    return JobStatus(
        state=state,
        steps=steps,
        server=server,
        exit_code=seen.facts.exit_code if seen.facts else None,
        message="" if state.final else words(seen, means, steps, server),
        confirmed=means is not None or seen.asked,
        image_digests=digests(handle, seen),
        observed=now if means or (seen.asked and seen.stages) else None,
    )


def what_it_means(seen: Evidence) -> Meaning | None:
    """The job's state in our terms; None when nobody knows it."""
    if seen.facts is None:
        kept = meaning(seen.why)
        if kept.phase not in {Phase.UNKNOWN, Phase.WAITING, Phase.RUNNING}:
            return kept
        return meaning(FORGOTTEN) if seen.forgotten else None
    told = meaning(seen.facts.state)
    if was_pending_again(seen, seen.facts, told.phase):
        return meaning(FORGOTTEN)
    if told.phase is Phase.CANCELLED and seen.why:
        kept = meaning(seen.why)
        return kept if kept.phase is Phase.FAILED else told
    return told


def was_pending_again(seen: Evidence, facts: Facts, phase: Phase) -> bool:
    """Whether Slurm has taken a job for pending that had begun: it called it cancelled then, or started it a second time."""
    if phase is Phase.CANCELLED:
        return seen.begun and not seen.why and bool(facts.start) and facts.start == facts.end
    return phase is Phase.ENDED and seen.why == FORGOTTEN


def step_status(seen: Evidence, number: int, means: Meaning | None, *, fresh: bool) -> StepStatus:
    """How one step is doing.

    | stage.exit      | Slurm says            | status |
    |---|---|---|
    | 143, cancelled  | anything              | CANCELLED |
    | 143             | cancelled             | CANCELLED |
    | 143             | waiting (requeued)    | PENDING: Slurm starts it again |
    | 143             | running, no answer    | RUNNING until Slurm says who told it to end |
    | 143             | anything else         | FAILED, `lost:`, in Slurm's words where it has some |
    | any other       | anything              | final, by the exit code |
    | none            | waiting               | PENDING |
    | none            | running               | as the stage files say |
    | none            | cancelled             | CANCELLED |
    | none            | lost, out of memory...| FAILED in Slurm's words, `lost:` where another attempt helps |
    | none            | ended by itself       | as before for some seconds, then FAILED |
    | none            | nobody knows the job  | `lost:` where it had begun, or Slurm has forgotten it, else UNKNOWN |
    | none            | cannot be asked       | as the stage files say |
    """
    stages = seen.stages.get(number, {})
    if "exit" in stages:
        return said_its_last(stages, means, meaning(seen.why) if seen.why else None, asked=seen.asked)
    if means is None:
        return join(stages, GONE if seen.asked and seen.job_id else UNSEEN)
    return without_last_word(stages, means, seen.facts, fresh=fresh)


def said_its_last(
    stages: Mapping[str, Stage], means: Meaning | None, why: Meaning | None, *, asked: bool = True
) -> StepStatus:
    """A step that wrote its end; who interrupted it is what Slurm knows."""
    said = stages["exit"]
    status = ended(said, (stages.get("running") or Stage(None)).time)
    if said.words.startswith(STARVED):
        return replace(status, message=f"{said.words}; {STATES['OUT_OF_MEMORY'].words.partition('; ')[2]}")
    if said.exit_code != EXIT_INTERRUPTED or said.words.startswith(MEANT):
        return status
    phase = means.phase if means else Phase.UNKNOWN
    if phase is Phase.CANCELLED:
        return replace(status, state=JobState.CANCELLED, exit_code=EXIT_INTERRUPTED, message="cancelled")
    if phase is Phase.WAITING and means:
        return StepStatus(JobState.PENDING, message=f"{means.words}: Slurm starts it again")
    cause = next((each for each in (means, why) if each and each.phase is Phase.LOST), None)
    if cause:
        return replace(status, message=f"{LOST}{cause.words}")
    if phase is Phase.RUNNING or not (means or asked):
        return StepStatus(JobState.RUNNING, None, "told to end", status.started)
    return status


def without_last_word(stages: Mapping[str, Stage], means: Meaning, facts: Facts | None, *, fresh: bool) -> StepStatus:
    """A step that did not write its end."""
    started = (stages.get("running") or Stage(None)).time
    if means.phase is Phase.RUNNING:
        return join(stages, ALIVE)
    if means.phase is Phase.UNKNOWN:
        return join(stages, UNSEEN)
    if fresh and means.phase in {Phase.LOST, Phase.ENDED}:
        return replace(join(stages, ALIVE), message="its job has ended; its last word is awaited")
    if means.phase is Phase.ENDED:
        return unsaid(stages, facts, started)
    state, message = {
        Phase.WAITING: (JobState.PENDING, ""),
        Phase.CANCELLED: (JobState.CANCELLED, cancelled_words(facts)),
        Phase.LOST: (JobState.FAILED, LOST + means.words),
        Phase.FAILED: (JobState.FAILED, means.words),
    }[means.phase]
    return StepStatus(state, None, message, started if state.final else None)


def cancelled_words(facts: Facts | None) -> str:
    """That a job was cancelled; where it could never have started, which some clusters end by themselves, with the reason."""
    reason = facts.reason if facts else ""
    return f"{MEANT}: {reason}" if "NeverSatisfied" in reason else MEANT


def unsaid(stages: Mapping[str, Stage], facts: Facts | None, started: datetime | None) -> StepStatus:
    """A step whose job ended by itself without a word of it."""
    if stages:
        return join(stages, GONE)
    code = facts.exit_code if facts else None
    words = (
        "its node cannot write into the job's folder; execution.output_dir must be a folder that login and compute nodes share"
        if code == EXIT_CANNOT_WRITE
        else "its job ended before it started; .proctor/<job>/job.log in the evaluation's folder may say why, and where "
        "that is missing, the node did not see the folder or Slurm could not start the job there"
    )
    return StepStatus(JobState.FAILED, code, words, started)


def without_server(status: StepStatus, server: str, died: datetime | None, means: Meaning | None) -> StepStatus:
    """A step of a job whose server has ended.

    | the step                 | the job was           | the server | status |
    |---|---|---|---|
    | COMPLETED, CANCELLED     | anything              | anything   | as it is |
    | failed before the server | anything              | anything   | as it is |
    | failed with it           | cancelled             | anything   | CANCELLED |
    | failed with it           | lost                  | anything   | `lost:`, in Slurm's words |
    | failed with it           | anything else         | lost       | `lost:`, in the server's words |
    | failed with it           | anything else         | died       | FAILED, "server died" |
    """
    phase = means.phase if means else Phase.UNKNOWN
    if status.state is not JobState.FAILED:
        return status if phase in {Phase.LOST, Phase.CANCELLED} else after_server_death(status, server)
    if status.ended and died and status.ended < died and not lost(status):
        return status
    if phase is Phase.CANCELLED:
        return replace(status, state=JobState.CANCELLED, exit_code=EXIT_INTERRUPTED, message="cancelled")
    if phase is Phase.LOST and means:
        return replace(status, exit_code=None, message=f"{LOST}{means.words}")
    if server.startswith(LOST):
        return replace(status, exit_code=None, message=server)
    return after_server_death(status, server)


def server_words(job: str, seen: Evidence, stage: str) -> tuple[str, ...]:
    """Time, exit code and words of one of the server's stage files; empty where another attempt wrote it."""
    fields = seen.server.get(stage, "").split(" ", 3 if stage == "exit" else 2)
    code = fields.pop(1) if stage == "exit" and len(fields) > 2 else ""
    return (fields[0], code, *fields[2:]) if len(fields) > 1 and fields[1] == job else ("", "")


def server_status(job: str, seen: Evidence, means: Meaning | None, now: datetime) -> ServerStatus | None:
    """How the job's server is doing."""
    if "here" not in seen.server:
        return None
    time, code, *said = server_words(job, seen, "exit")
    if time:
        words = (LOST if code == "lost" else "") + (said[0] if said else "it ended")
        return ServerStatus(JobState.FAILED, words, "\n".join(seen.server_log))
    if seen.answering:
        return ServerStatus(JobState.RUNNING, "answers")
    if means is None or means.phase is not Phase.RUNNING:
        return ServerStatus(JobState.PENDING, "waits for its node")
    _, _, *preparing = server_words(job, seen, "preparing")
    since = next(
        (since for stage in ("running", "pre-start") if (since := moment(server_words(job, seen, stage)[0]))), None
    )
    if since is None:
        return ServerStatus(JobState.PENDING, "waits for its node")
    words = f"{preparing[0]}," if preparing else "loading"
    return ServerStatus(JobState.PENDING, f"{words} {span((now - since).total_seconds())}")


def job_state(steps: Mapping[str, StepStatus], means: Meaning | None) -> JobState:
    """The worst of its steps; a job that runs before any of its steps does is RUNNING."""
    state = worst_of(steps.values())
    running = means is not None and means.phase is Phase.RUNNING
    return JobState.RUNNING if running and state in {JobState.PENDING, JobState.UNKNOWN} else state


def words(seen: Evidence, means: Meaning | None, steps: Mapping[str, StepStatus], server: ServerStatus | None) -> str:
    """A job in words, for instance `pending: Priority, 3rd of 40, estimated start 14:05`."""
    facts = seen.facts
    if means is None or facts is None:
        return means.words if means else f"Slurm cannot be asked: {seen.trouble}" if seen.trouble else ""
    if means.phase is Phase.WAITING:
        return waiting_words(means, facts)
    parts = [f"{means.words} on {facts.nodes}" if facts.nodes else means.words]
    if server and server.state is not JobState.RUNNING:
        parts.append(f"server {server.message}")
    elif len(steps) > 1:
        done = sum(status.state.final for status in steps.values())
        parts.append(f"benchmark {min(done + 1, len(steps))} of {len(steps)}")
    if facts.elapsed and facts.limit:
        parts.append(f"{facts.elapsed} of {facts.limit}")
    return ", ".join(parts)


def waiting_words(means: Meaning, facts: Facts) -> str:
    """Why it waits, its place, and when it may start."""
    future = outlook(facts.reason)
    parts = [f"{facts.reason} ({future})" if future else facts.reason or "no reason yet"]
    if facts.place:
        parts.append(f"{ordinal(facts.place[0])} of {facts.place[1]}")
    if "T" in facts.start:
        parts.append(f"estimated start {facts.start.partition('T')[2][:5]}")
    return f"{means.words}: {', '.join(parts)}"


def stuck(seen: Evidence) -> str:
    """The reason why a job may never start by itself; empty when it only waits."""
    facts = seen.facts
    waits = facts is not None and meaning(facts.state).phase is Phase.WAITING
    return facts.reason if facts and waits and outlook(facts.reason) else ""


def digests(handle: JobHandle, seen: Evidence) -> dict[str, str]:
    """The images that really run, by step."""
    found = {handle.steps[number]: digest for number, digest in seen.digests.items() if number < len(handle.steps)}
    return found | ({"server": seen.server["digest"]} if "digest" in seen.server else {})


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th."""
    last = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in {11, 12, 13} else last}"


def span(seconds: float) -> str:
    """Some time in words."""
    return f"{int(seconds)} s" if seconds < 100 else f"{int(seconds / 60)} min"
