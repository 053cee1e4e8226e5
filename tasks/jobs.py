"""The tasks of an evaluation that talk to its backend: submit, deploy, run, fetch, release."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE, CacheKeyFnPolicy
from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.logging import get_run_logger
from prefect.states import Failed

from proctor.blocks.errors import (
    BackendError,
    BackendUnavailableError,
    JobFailedError,
    RejectedError,
    ResultError,
    TransientError,
)
from proctor.blocks.job import JobHandle, JobSpec, JobState, StepStatus
from proctor.blocks.secrets import hidden
from proctor.tasks.attempts import intended
from proctor.tasks.names import releasing, submission
from proctor.tasks.publish import publish_trouble
from proctor.tasks.records import EvaluationRun, record_jobs
from proctor.tasks.watch import Watcher

T = TypeVar("T")

LAST_LINES = 20
"""Log lines that a failed benchmark quotes."""

UNAVAILABLE = "Unavailable"
"""Name of the Failed state of a benchmark, or of an evaluation, whose backend is out of sight."""


def submission_key(_context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """One submission for each job of an evaluation, whichever engine or subflow asks for it."""
    return "submit-" + "-".join(job.name for job in parameters["jobs"])


class PartlyRefusedError(RejectedError):
    """The backend took some jobs of a submission and refused others."""

    def __init__(self, accepted: list[JobHandle], refused: dict[str, str]) -> None:
        super().__init__(accepted, refused)
        self.accepted = accepted
        self.refused = refused
        """The reason for each job name."""

    def __str__(self) -> str:
        return "; ".join(f"{name} was refused: {reason}" for name, reason in self.refused.items())


@task(
    task_run_name=submission,
    persist_result=True,
    result_serializer="json",
    cache_policy=CacheKeyFnPolicy(cache_key_fn=submission_key),
)
async def submit(run: EvaluationRun, jobs: list[JobSpec], backend: str, patience: float) -> list[dict[str, Any]]:
    """The handles of all these jobs as JSON. Intent is recorded before, handles right after.

    Raises PartlyRefusedError when the backend refuses one of them, and BackendUnavailableError when it stays out of
    sight for `patience` seconds.
    """
    hoped = [intended(job, backend) for job in jobs]
    await record_jobs(run, [handle for handle in hoped if handle not in run.handles])
    there = Watcher.of(run.id).backend
    answers = await _patiently(
        lambda: there.submit(jobs),
        patience,
        "nothing could be submitted",
        f"`proctor resume {run.id}` tries again",
        lambda words: publish_trouble(run, words),
    )
    accepted = [answer for answer in answers.values() if isinstance(answer, JobHandle)]
    await record_jobs(run, [handle for handle in accepted if handle not in hoped])
    refused = {name: str(answer) for name, answer in answers.items() if isinstance(answer, BackendError)}
    if refused:
        raise PartlyRefusedError(accepted, refused)
    return [handle.to_json() for handle in accepted]


async def _patiently(
    call: Callable[[], T],
    patience: float,
    trouble: str,
    advice: str,
    tell: Callable[[str], Awaitable[None]] | None = None,
) -> T:
    """The answer of a backend that may be away for a while. Raises BackendUnavailableError with `advice` when patience ends.

    Whoever wants to `tell` why it takes so long gets the words each time.
    """
    began, pause = time.monotonic(), 1.0
    while True:
        try:
            return await asyncio.to_thread(call)
        except TransientError as error:
            limit = min(patience, error.within or patience)
            if time.monotonic() + pause > began + limit:
                raise BackendUnavailableError(f"{trouble} for {limit:g} s: {error}; {advice}") from error
            get_run_logger().warning("%s yet, trying again: %s", trouble, error)
            if tell:
                await tell(f"{trouble} yet, trying again: {error}")
        await asyncio.sleep(pause)
        pause = min(60.0, pause * 2)


@task(task_run_name="deploy {model}", cache_policy=NO_CACHE, persist_result=False)
async def deploy(evaluation: str, model: str, handle: JobHandle) -> str | State[Any]:
    """Wait until the model server of a job answers; a Failed state with its last log lines when it never will."""
    server = await Watcher.of(evaluation).answers(handle)
    if server is None:
        return "the benchmarks have ended"
    if server.state is JobState.RUNNING:
        return f"{model} answers"
    words = await asyncio.to_thread(hidden, server.log_tail, Watcher.of(evaluation).plan.jobs)
    return Failed(message=f"the server of {model} ended: {server.message}\n{words}".rstrip())


@task(task_run_name="run {step}", cache_policy=NO_CACHE, persist_result=False)
async def run(evaluation: str, step: str) -> StepStatus | State[Any]:
    """Wait for the end of a step; a Failed state with its last log lines when it failed."""
    watcher = Watcher.of(evaluation)
    try:
        status = await watcher.ended(step)
    except BackendUnavailableError as error:
        return Failed(name=UNAVAILABLE, message=str(error))
    if status.state is not JobState.FAILED:
        return status
    failure = JobFailedError(_reason(status), None, status.exit_code, await _last_words(watcher, step))
    return Failed(message=str(failure))


def _reason(status: StepStatus) -> str:
    code = f"exit code {status.exit_code}" if status.exit_code is not None else ""
    told = "" if code in status.message else code
    return " · ".join(part for part in (status.message, told) if part) or "failed without a word"


async def _last_words(watcher: Watcher, step: str) -> str:
    """The end of a failed step's log, and of its server's when that died; what can be had, never an error."""
    sight = watcher.sight_of(step)
    if sight is None:
        return ""
    try:
        tail = await asyncio.to_thread(
            lambda: list(watcher.backend.logs(sight.handle, step, follow=False, tail=LAST_LINES))
        )
        await asyncio.to_thread(watcher.backend.fetch, sight.handle, step, Path(watcher.plan.folder))
    except (BackendError, ResultError, OSError) as error:
        tail = [f"(its log is not at hand: {error})"]
    server = sight.status.server
    if server and server.state is JobState.FAILED:
        tail += [f"server: {server.message}", server.log_tail]
    return await asyncio.to_thread(hidden, "\n".join(tail).rstrip(), watcher.plan.jobs)


@task(task_run_name="fetch {step}", cache_policy=NO_CACHE, persist_result=False)
async def fetch(evaluation: str, step: str, output_dir: Path) -> Path | State[Any]:
    """The output folder of an ended step, under the evaluation's folder on this machine.

    A backend that is away for longer than `execution.patience` is no failure of the benchmark: Unavailable.
    """
    watcher = Watcher.of(evaluation)
    sight = watcher.sight_of(step)
    if sight is None:
        raise ResultError(f"{step}: no job has run it, so there is nothing to fetch")
    handle, patience = sight.handle, watcher.config.execution.patience
    try:
        return await _patiently(
            lambda: watcher.backend.fetch(handle, step, output_dir),
            patience,
            "its results could not be fetched",
            f"`proctor resume {handle.evaluation}` fetches them later",
        )
    except BackendUnavailableError as error:
        return Failed(name=UNAVAILABLE, message=str(error))


@task(task_run_name=releasing, cache_policy=NO_CACHE, persist_result=False)
async def release(evaluation: str, handles: list[JobHandle]) -> None:
    """Let go of the servers and containers of ended jobs; a failure is logged and left to the reaper."""
    watcher, names = Watcher.of(evaluation), {handle.name for handle in handles}
    try:
        await asyncio.to_thread(watcher.backend.cancel, handles)
        watcher.unreleased -= names
    except BackendError as error:
        watcher.unreleased |= names
        get_run_logger().warning("not released, `proctor reap` (hourly) ends what is left of it: %s", error)
