"""Going on with an evaluation that was cancelled: what had not ended runs again, as the next attempt of its job."""

import asyncio
from collections.abc import Sequence

from proctor.blocks.errors import BackendUnavailableError, TransientError
from proctor.blocks.job import JobSpec, JobState
from proctor.configs import records
from proctor.tasks.api import api
from proctor.tasks.attempts import intended
from proctor.tasks.plan import remaining
from proctor.tasks.records import EvaluationRun, record_jobs
from proctor.tasks.watch import Watcher

KEPT = frozenset({JobState.COMPLETED, JobState.FAILED})
"""How a step ended by itself."""


async def continued(started: EvaluationRun, watcher: Watcher, newest: Sequence[JobSpec]) -> list[JobSpec]:
    """The jobs to go on with: as they are, or, where a cancellation has ended them, their next attempts.

    Raises BackendUnavailableError when nobody can say how the old ones ended.
    """
    known = {handle.name: handle for handle in started.handles}
    begun = [known[job.name] for job in newest if job.name in known]
    if not started.released or not begun:
        return list(newest)
    try:
        seen = await asyncio.to_thread(watcher.backend.poll, begun)
    except TransientError as error:
        raise BackendUnavailableError(f"nobody can say how its jobs ended: {error}") from error
    steps = {name: status for each in seen.values() for name, status in each.steps.items()}
    jobs = []
    for job in newest:
        ended = [step.name for step in job.steps if step.name in steps and steps[step.name].state in KEPT]
        again = tuple(step.name for step in job.steps if step.name not in ended)
        jobs.append(remaining(job, again) if job.name in known and again else job)
    await record_jobs(started, [intended(job, watcher.config.execution.type) for job in jobs])
    await api().update_flow_run_labels(started.flow_run_id, {records.RELEASED_LABEL: False})
    return jobs
