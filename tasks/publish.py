"""The artifacts that tell the story of an evaluation while it runs: what is planned, and how far it is."""

import asyncio
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import httpx
from prefect.logging import get_run_logger

from proctor.blocks.job import Step
from proctor.configs import records
from proctor.tasks.answered import answered
from proctor.tasks.cancellation import release_step
from proctor.tasks.progress import Row, job_words, progress_rows
from proctor.tasks.records import EvaluationRun, update_table, write_artifact, write_table
from proctor.tasks.stalls import Stalls, flagged
from proctor.tasks.watch import Watcher

PROGRESS_SECONDS = 3.0
"""The shortest time between two versions of the progress table."""


async def publish_plan(run: EvaluationRun, watcher: Watcher) -> None:
    """The plan as each backend would send it, with what a user might not expect."""
    planned = watcher.plan
    rendered = await asyncio.to_thread(lambda: [watcher.backend.render(job) for job in planned.jobs])
    notes = "".join(f"- {note}\n" for note in planned.notes)
    jobs = "\n".join(f"## {job.name}\n\n```\n{text}\n```\n" for job, text in zip(planned.jobs, rendered, strict=True))
    text = f"# {planned.model}\n\nResults: `{planned.folder}`\n\n{notes}\n{jobs}"
    await write_artifact(run, "markdown", records.plan_key(run.id), text)


async def publish_progress(run: EvaluationRun, watcher: Watcher, done: asyncio.Event) -> None:
    """Keep the progress table up to date until `done`, and once more then. An API that is away delays it, no more."""
    artifact: UUID | None = None
    shown: list[Row] = []
    said: dict[str, str] = {}
    stalls, last = Stalls(watcher.config.execution.stall_timeout), False
    steps = [step for job in watcher.plan.jobs for step in job.steps]
    while not last:
        last = done.is_set()
        rows = await asyncio.to_thread(_rows, steps, watcher)
        stalled = stalls.look(rows, time.monotonic())
        rows = flagged(rows, stalled)
        _say(watcher, said)
        await _end_stalled(watcher, stalled, said)
        try:
            if rows != shown:
                artifact, shown = await _show(run, artifact, rows), rows
        except (httpx.HTTPError, OSError) as error:
            get_run_logger().debug("the progress table is late: %s", error)
        with suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), PROGRESS_SECONDS)


async def _end_stalled(watcher: Watcher, stalled: Collection[str], said: dict[str, str]) -> None:
    for step in stalled:
        if step in said:
            continue
        cancel = watcher.config.execution.stall_action == "cancel"
        get_run_logger().warning("%s is stalled%s", step, ", and is cancelled" if cancel else "")
        if not cancel or await release_step(watcher, step):
            said[step] = "stalled"


async def _show(run: EvaluationRun, artifact: UUID | None, rows: Sequence[Row]) -> UUID:
    if artifact is None:
        return await write_table(run, records.progress_key(run.id), rows)
    await update_table(artifact, rows)
    return artifact


def _say(watcher: Watcher, said: dict[str, str]) -> None:
    for sight in watcher.sights:
        words = job_words(sight) + (f" ({watcher.trouble})" if watcher.trouble else "")
        if said.get(sight.handle.name) != words:
            said[sight.handle.name] = words
            get_run_logger().info(words)


def _rows(steps: Sequence[Step], watcher: Watcher) -> list[Row]:
    sights = {step.name: sight for step in steps if (sight := watcher.sight_of(step.name))}
    counts = {name: answered(Path(watcher.plan.folder) / name) for name, sight in sights.items()}
    return progress_rows(steps, sights, counts)
