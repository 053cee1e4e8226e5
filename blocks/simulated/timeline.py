"""What a simulated job does, as a function of the time since its submission; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from proctor.blocks.job import JobState, JobStatus, ServerStatus, StepStatus
from proctor.blocks.stage_files import job_state
from proctor.configs.execution_schema import SimulatedExecution

SAMPLES = 100
"""Of every benchmark, answered one after the other while it runs."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What is remembered of a job: its steps in order with their benchmarks, when it came, what was cancelled when."""

    steps: Mapping[str, str]
    max_parallel: int
    server: bool
    time: float
    cancelled: Mapping[str, float]


def status(job: Submitted, script: SimulatedExecution, now: float) -> JobStatus:
    """How the job is doing at a point of time (seconds since the epoch)."""
    free = [job.time + script.pending_seconds] * job.max_parallel
    steps = {}
    for step, benchmark in job.steps.items():
        start = min(free)
        slot = free.index(start)
        end = min(start + script.step_seconds, max(start, job.cancelled.get(step, float("inf"))))
        free[slot] = min(end, job.cancelled.get(step, end))
        steps[step] = step_status(benchmark, (start, end), job.cancelled.get(step), script, now)
    server = ServerStatus(JobState.RUNNING if now >= job.time + script.pending_seconds else JobState.PENDING)
    return JobStatus(
        job_state(steps.values()), steps, server if job.server else None, observed=datetime.fromtimestamp(now, UTC)
    )


def step_status(
    benchmark: str, span: tuple[float, float], cancelled: float | None, script: SimulatedExecution, now: float
) -> StepStatus:
    """One step of the timeline."""
    start, end = span
    short = benchmark.rpartition(".")[2]
    if cancelled is not None and cancelled <= end and now >= cancelled:
        return StepStatus(JobState.CANCELLED, 143, "cancelled", at(start) if cancelled > start else None, at(cancelled))
    if now < start:
        return StepStatus(JobState.PENDING, message="waits for its turn")
    if short in script.vanish:
        return StepStatus(JobState.UNKNOWN, message="nothing is known about it")
    if now < end:
        answered = int(SAMPLES * (now - start) / script.step_seconds)
        return StepStatus(JobState.RUNNING, started=at(start), requests=answered)
    if short in script.fail:
        return StepStatus(JobState.FAILED, 1, "the harness ended with exit code 1", at(start), at(end))
    return StepStatus(JobState.COMPLETED, 0, "", at(start), at(end), SAMPLES)


def at(seconds: float) -> datetime:
    """A point of time as UTC."""
    return datetime.fromtimestamp(seconds, UTC)
