"""The progress table of an evaluation. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from proctor.blocks.job import JobHandle, JobSpec, JobState, ServerStatus, Step, StepStatus
from proctor.configs.records import SERVER_STEP
from proctor.tasks.attempts import attempt_of
from proctor.tasks.sight import Sight

Row = dict[str, str | float | int | None]


def progress_rows(jobs: Sequence[JobSpec], sights: Mapping[str, Sight]) -> list[Row]:
    """One row a benchmark, in the order of the plan, before them one for the server of their job; `sights` by step name."""
    rows: list[Row] = []
    for job in jobs:
        seen = [sights[step.name] for step in job.steps if step.name in sights]
        if job.server:
            rows.append(_server_row(job.server.kind, seen))
        rows += [_row(step, sights.get(step.name)) for step in job.steps]
    return rows


def _row(step: Step, sight: Sight | None) -> Row:
    status = sight.step(step.name) if sight else StepStatus(JobState.PENDING, message="not submitted")
    return {
        "benchmark": step.benchmark,
        "state": str(status.state),
        "message": _message(status, sight),
        "requests": status.requests,
        "per_minute": None,
        "seconds": (status.ended - status.started).total_seconds() if status.ended and status.started else None,
        "since": _time(status.ended or status.started),
        "observed": _time(sight.status.observed) if sight else None,
        "step": step.name,
        "job": sight.handle.name if sight else "",
    }


def _server_row(kind: str, sights: Sequence[Sight]) -> Row:
    """The server of a job, of its latest attempt; it is let go when the last benchmark has ended."""
    sight = max(sights, key=lambda each: attempt_of(each.handle.name), default=None)
    server = sight.status.server if sight else None
    state, message = (server.state, _place_of(server, sight)) if server else (JobState.PENDING, "not submitted")
    if all(each.ended for each in sights) and sights and state is not JobState.FAILED:
        state, message = JobState.COMPLETED, "released"
    return {
        "benchmark": f"server {kind}",
        "state": str(state),
        "message": message,
        "requests": None,
        "per_minute": None,
        "seconds": None,
        "since": None,
        "observed": _time(sight.status.observed) if sight else None,
        "step": SERVER_STEP,
        "job": sight.handle.name if sight else "",
    }


def _place_of(server: ServerStatus, sight: Sight | None) -> str:
    """What a server does; with what is said about its job where that tells it too: on which node, for how long."""
    job = sight.status.message if sight else ""
    return job if server.state is JobState.PENDING and server.message and server.message in job else server.message


def _message(status: StepStatus, sight: Sight | None) -> str:
    return status.message or (sight.status.message if sight and not status.state.final else "")


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None


def job_words(sight: Sight) -> str:
    """A job as one line for the log."""
    handle: JobHandle = sight.handle
    states = [str(sight.step(name).state) for name in handle.steps]
    return f"{handle.name}: " + ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
