"""How a job is doing, from what Slurm says and what its steps wrote; pure rules, tested row by row."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from proctor.blocks.job import JobHandle, JobState, JobStatus, ServerStatus, StepStatus
from proctor.blocks.slurm.parse import Evidence, Facts, moment
from proctor.blocks.slurm.states import Meaning, Phase, meaning, never
from proctor.blocks.stage_files import ALIVE, GONE, LOST, UNSEEN, Stage, after_server_death, ended, join
from proctor.blocks.stage_files import CANCELLED as MEANT
from proctor.blocks.stage_files import job_state as worst_of
from proctor.blocks.stages import EXIT_INTERRUPTED

LAST_WORDS = 30.0
"""Seconds that a shared file system may take to show the last word of a job that has ended."""

STUCK = "will never start by itself"


def verdict(handle: JobHandle, seen: Evidence, now: datetime) -> JobStatus:
    """The status of a job, seen at this UTC time."""
    means = what_it_means(seen)
    fresh = seen.ended_for is not None and seen.ended_for < LAST_WORDS
    steps = {
        name: replace(step_status(seen, number, means, fresh=fresh), requests=seen.requests.get(number))
        for number, name in enumerate(handle.steps)
    }
    server = server_status(seen, means, now)
    if server and server.state is JobState.FAILED:
        steps = {name: after_server_death(status, server.message) for name, status in steps.items()}
    state = job_state(steps, means)
    return JobStatus(
        state=state,
        steps=steps,
        server=server,
        exit_code=seen.facts.exit_code if seen.facts else None,
        message="" if state.final else words(seen, means, steps, server),
        image_digests=digests(handle, seen),
        observed=now if means or seen.stages else None,
    )


def what_it_means(seen: Evidence) -> Meaning | None:
    """The job's state in our terms; None when nobody knows it."""
    if seen.facts is None:
        return meaning(seen.why) if seen.why else None
    told = meaning(seen.facts.state)
    if told.phase is Phase.CANCELLED and seen.why:
        kept = meaning(seen.why)
        return kept if kept.phase is Phase.FAILED else told
    return told


def step_status(seen: Evidence, number: int, means: Meaning | None, *, fresh: bool) -> StepStatus:
    """How one step is doing.

    | stage.exit      | Slurm says            | status |
    |---|---|---|
    | 143, cancelled  | anything              | CANCELLED |
    | 143             | cancelled             | CANCELLED |
    | 143             | waiting (requeued)    | PENDING: Slurm starts it again |
    | 143             | running               | RUNNING until Slurm says who told it to end |
    | 143             | anything else         | FAILED, `lost:`, in Slurm's words where it has some |
    | any other       | anything              | final, by the exit code |
    | none            | waiting               | PENDING |
    | none            | running               | as the stage files say |
    | none            | cancelled             | CANCELLED |
    | none            | lost, out of memory...| FAILED in Slurm's words, `lost:` where another attempt helps |
    | none            | ended by itself       | as before for some seconds, then FAILED |
    | none            | nobody knows the job  | `lost:` where it had begun, else UNKNOWN |
    | none            | cannot be asked       | as the stage files say |
    """
    stages = seen.stages.get(number, {})
    if "exit" in stages:
        return said_its_last(stages, means, meaning(seen.why) if seen.why else None)
    if means is None:
        return join(stages, GONE if seen.asked and seen.job_id else UNSEEN)
    return without_last_word(stages, means, seen.facts, fresh=fresh)


def said_its_last(stages: Mapping[str, Stage], means: Meaning | None, why: Meaning | None) -> StepStatus:
    """A step that wrote its end; who interrupted it is what Slurm knows."""
    said = stages["exit"]
    status = ended(said, (stages.get("running") or Stage(None)).time)
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
    if phase is Phase.RUNNING:
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
        Phase.CANCELLED: (JobState.CANCELLED, "cancelled"),
        Phase.LOST: (JobState.FAILED, LOST + means.words),
        Phase.FAILED: (JobState.FAILED, means.words),
    }[means.phase]
    return StepStatus(state, None, message, started if state.final else None)


def unsaid(stages: Mapping[str, Stage], facts: Facts | None, started: datetime | None) -> StepStatus:
    """A step whose job ended by itself without a word of it."""
    if stages:
        return join(stages, GONE)
    code = facts.exit_code if facts else None
    return StepStatus(
        JobState.FAILED, code, "its job ended before it started; see the job's log on the cluster", started
    )


def server_status(seen: Evidence, means: Meaning | None, now: datetime) -> ServerStatus | None:
    """How the job's server is doing."""
    if "here" not in seen.server:
        return None
    if "exit" in seen.server:
        fields = seen.server["exit"].split(" ", 3)
        return ServerStatus(JobState.FAILED, fields[3] if len(fields) > 3 else "it ended", "\n".join(seen.server_log))
    if seen.answering:
        return ServerStatus(JobState.RUNNING, "answers")
    since = moment(seen.server.get("pre-start", "").partition(" ")[0])
    if since is None or means is None or means.phase is not Phase.RUNNING:
        return ServerStatus(JobState.PENDING, "waits for its node")
    return ServerStatus(JobState.PENDING, f"loading {span((now - since).total_seconds())}")


def job_state(steps: Mapping[str, StepStatus], means: Meaning | None) -> JobState:
    """The worst of its steps; a job that runs before any of its steps does is RUNNING."""
    state = worst_of(steps.values())
    running = means is not None and means.phase is Phase.RUNNING
    return JobState.RUNNING if running and state in {JobState.PENDING, JobState.UNKNOWN} else state


def words(seen: Evidence, means: Meaning | None, steps: Mapping[str, StepStatus], server: ServerStatus | None) -> str:
    """A job in words, for instance `pending: Priority, 3rd of 40, estimated start 14:05`."""
    facts = seen.facts
    if means is None or facts is None:
        return "" if means is None else means.words
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
    parts = [facts.reason or "no reason yet"]
    if never(facts.reason):
        parts = [f"{facts.reason} ({STUCK})"]
    if facts.place:
        parts.append(f"{ordinal(facts.place[0])} of {facts.place[1]}")
    if "T" in facts.start:
        parts.append(f"estimated start {facts.start.partition('T')[2][:5]}")
    return f"{means.words}: {', '.join(parts)}"


def stuck(seen: Evidence) -> str:
    """The reason why a job will never start by itself; empty when it may."""
    facts = seen.facts
    waits = facts is not None and meaning(facts.state).phase is Phase.WAITING
    return facts.reason if facts and waits and never(facts.reason) else ""


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
