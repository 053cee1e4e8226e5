"""Starting lost steps again: which attempt of a job counts, and what the next one is. Pure."""

import re
from collections.abc import Iterable

from proctor.blocks.job import JobHandle, JobSpec
from proctor.blocks.slurm.states import STATES
from proctor.configs.execution_schema import BaseExecution, SlurmExecution
from proctor.tasks.plan import remaining


def attempt_of(name: str) -> int:
    """The attempt in a job's name, which is its last part."""
    match = re.fullmatch(r".+-(\d+)", name)
    return int(match[1]) if match else 1


def family(name: str) -> str:
    """What the names of all attempts of a job have in common."""
    return re.sub(r"-\d+$", "", name)


def may_try_again(execution: BaseExecution, attempt: int, words: str) -> bool:
    """Whether a step that attempt number `attempt` lost may run again, from the words of its loss.

    On a cluster the walltime is no accident: it may be over as often as `max_walltime` allows for all attempts together.
    """
    if isinstance(execution, SlurmExecution):
        if execution.max_walltime is not None and attempt * execution.walltime >= execution.max_walltime:
            return False
        if STATES["TIMEOUT"].words in words:
            return True
    return attempt < execution.max_attempts


def latest(job: JobSpec, known: Iterable[JobHandle]) -> JobSpec:
    """The newest attempt of a planned job that was begun so far; the job itself when none was."""
    begun = {attempt_of(handle.name): handle for handle in known if family(handle.name) == family(job.name)}
    while job.attempt + 1 in begun:
        job = remaining(job, begun[job.attempt + 1].steps)
    return job


def intended(job: JobSpec, backend: str) -> JobHandle:
    """The handle that a job is expected to have, known before it is submitted."""
    return JobHandle(backend, job.name, job.evaluation, job.output_dir, tuple(step.name for step in job.steps))
