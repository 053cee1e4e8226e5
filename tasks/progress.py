"""The progress table of an evaluation. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from proctor.blocks.job import JobHandle, JobState, Step, StepStatus
from proctor.tasks.sight import Sight

Row = dict[str, str | float | int | None]


def progress_rows(steps: Sequence[Step], sights: Mapping[str, Sight], requests: Mapping[str, int | None]) -> list[Row]:
    """One row a benchmark, in the order of the plan; `sights` by step name, `requests` answered so far by step name."""
    return [_row(step, sights.get(step.name), requests.get(step.name)) for step in steps]


def _row(step: Step, sight: Sight | None, requests: int | None) -> Row:
    status = sight.step(step.name) if sight else StepStatus(JobState.PENDING, message="not submitted")
    return {
        "benchmark": step.benchmark,
        "step": step.name,
        "job": sight.handle.name if sight else "",
        "state": str(status.state),
        "message": _message(status, sight),
        "requests": requests,
        "since": _time(status.ended or status.started),
        "observed": _time(sight.status.observed) if sight else None,
    }


def _message(status: StepStatus, sight: Sight | None) -> str:
    return status.message or (sight.status.message if sight and not status.state.final else "")


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None


def job_words(sight: Sight) -> str:
    """A job as one line for the log."""
    handle: JobHandle = sight.handle
    states = [str(sight.step(name).state) for name in handle.steps]
    return f"{handle.name}: " + ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
