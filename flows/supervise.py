"""Seeing the jobs of an evaluation through: submit them once, follow every benchmark, start lost ones again."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proctor.blocks.job import JobHandle, JobSpec
from proctor.flows.benchmark import benchmark, run_benchmark
from proctor.tasks.attempts import attempt_of, family, intended, latest, may_try_again
from proctor.tasks.cancellation import listen
from proctor.tasks.children import BenchmarkRuns
from proctor.tasks.continued import continued
from proctor.tasks.jobs import PartlyRefusedError, deploy, release, submit
from proctor.tasks.plan import remaining
from proctor.tasks.publish import publish_progress
from proctor.tasks.queue import split
from proctor.tasks.records import EvaluationRun, record_jobs
from proctor.tasks.states import end_of
from proctor.tasks.verdict import Outcome
from proctor.tasks.watch import Watcher


async def submit_all(started: EvaluationRun, watcher: Watcher) -> list[JobSpec]:
    """Bring every job that may run now into being once, or find it again; the answer is those that come later."""
    newest = await continued(started, watcher, [latest(job, started.handles) for job in watcher.plan.jobs])
    families = {family(job.name): job.attempt for job in newest}
    earlier = [each for each in started.handles if attempt_of(each.name) < families.get(family(each.name), 0)]
    for handle in sorted(earlier, key=lambda each: attempt_of(each.name)):
        watcher.follow(handle)
    if earlier:
        await release(started.id, earlier)
    now, later = split(newest, {handle.name for handle in started.handles}, watcher.config.execution)
    await submit_jobs(started, now, watcher)
    return later


async def submit_jobs(started: EvaluationRun, jobs: list[JobSpec], watcher: Watcher) -> None:
    """Submit these jobs; the steps of refused ones count as failed, in the service's own words."""
    refused: Mapping[str, str] = {}
    try:
        execution = watcher.config.execution
        answers = await submit(started, jobs, execution.type, execution.patience)
        handles = [JobHandle.from_json(each) for each in answers]
    except PartlyRefusedError as error:
        handles, refused = error.accepted, error.refused
    for handle in handles:
        watcher.follow(handle)
    for job in jobs:
        if job.name in refused:
            watcher.give_up([step.name for step in job.steps], refused[job.name])


async def follow_all(started: EvaluationRun, watcher: Watcher, later: list[JobSpec]) -> tuple[list[Outcome], bool]:
    """See every benchmark to its end; also says whether the evaluation itself was cancelled meanwhile."""

    async def start_again(handle: JobHandle, lost: tuple[str, ...], waiting: tuple[str, ...]) -> None:
        await restart(started, watcher, handle, (*still_tried(watcher, handle, lost), *waiting))

    done = asyncio.Event()
    listening = asyncio.create_task(listen(started, watcher))
    watching = asyncio.create_task(watcher.watch(start_again))
    publishing = asyncio.create_task(publish_progress(started, watcher, done))
    try:
        outcomes = await run_all(started, watcher, later)
        done.set()
        await publishing
        return outcomes, listening.done() and not listening.cancelled() and listening.exception() is None
    finally:
        for background in (listening, watching, publishing):
            background.cancel()
        await asyncio.gather(listening, watching, publishing, return_exceptions=True)


def still_tried(watcher: Watcher, handle: JobHandle, lost: tuple[str, ...]) -> tuple[str, ...]:
    """The lost steps that have an attempt left; the others count as failed from here on."""
    execution, attempt = watcher.config.execution, attempt_of(handle.name)
    left = tuple(step for step in lost if may_try_again(execution, attempt, watcher.words_of(step)))
    for step in lost:
        if step not in left:
            watcher.give_up([step], f"{watcher.words_of(step)} (in attempt {attempt}, the last one)")
    return left


async def restart(started: EvaluationRun, watcher: Watcher, handle: JobHandle, steps: tuple[str, ...]) -> None:
    """Submit these steps as the next attempt of their job, and end what is left of the one before.

    Nothing begins again in an evaluation that is being cancelled.
    """
    if not steps or watcher.cancelled:
        return
    job = next(each for each in watcher.plan.jobs if family(each.name) == family(handle.name))
    following = remaining(latest(job, watcher.handles(job)), steps)
    await record_jobs(started, [intended(following, watcher.config.execution.type)])
    await release(started.id, [handle])
    await submit_jobs(started, [following], watcher)


async def run_all(started: EvaluationRun, watcher: Watcher, later: list[JobSpec]) -> list[Outcome]:
    """A subflow run for each benchmark, all at once; each job is released when its benchmarks are in."""
    runs = await BenchmarkRuns.of(started, benchmark)
    folder = Path(watcher.plan.folder)
    running = {
        step.name: asyncio.create_task(run_benchmark(started, step, folder, runs))
        for job in watcher.plan.jobs
        for step in job.steps
    }
    await asyncio.gather(*(see_through(started, job, running, watcher, later) for job in watcher.plan.jobs))
    return [each.result() for each in running.values()]


async def see_through(
    started: EvaluationRun,
    job: JobSpec,
    running: Mapping[str, asyncio.Task[Outcome]],
    watcher: Watcher,
    later: list[JobSpec],
) -> None:
    """Say when the job's server answers; let the job go when all its benchmarks are in, and submit the next one.

    A job out of sight is left alone, and then the jobs behind it are not submitted.
    """
    deploying: asyncio.Task[Any] | None = None
    if job.server and (handles := watcher.handles(job)):
        waiting = deploy(started.id, job.server.served_model, handles[-1], return_state=True)
        deploying = asyncio.create_task(end_of(waiting))
    outcomes = [await running[step.name] for step in job.steps]
    if deploying:
        deploying.cancel()
    handles = watcher.handles(job)
    unavailable = any(outcome.ending == "unavailable" for outcome in outcomes)
    if handles and not unavailable:
        await release(started.id, handles)
    if watcher.cancelled or unavailable:
        unsent = [step.name for each in later for step in each.steps]
        later.clear()
        watcher.give_up(
            unsent, f"never submitted: {'cancelled' if watcher.cancelled else f'{job.name} is out of sight'}"
        )
    elif later:
        await submit_jobs(started, [later.pop(0)], watcher)
