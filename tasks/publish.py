"""The artifacts that tell the story of an evaluation while it runs: what is planned, and how far it is."""

import asyncio
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from uuid import UUID

import httpx
from prefect.logging import get_run_logger

from proctor.configs import records
from proctor.tasks.cancellation import release_step
from proctor.tasks.links import links_page
from proctor.tasks.outgoing import Receipt
from proctor.tasks.progress import Row, job_words, progress_rows
from proctor.tasks.rates import Rates
from proctor.tasks.records import EvaluationRun, update_table, write_artifact, write_table
from proctor.tasks.stalls import Stalls, flagged, stalled_for
from proctor.tasks.watch import Watcher

PROGRESS_SECONDS = 3.0
"""The shortest time between two versions of the progress table."""


async def publish_plan(run: EvaluationRun, watcher: Watcher) -> None:
    """The plan as each backend would send it, with what a user might not expect. Without it the evaluation goes on."""
    try:
        await write_artifact(run, "markdown", records.plan_key(run.id), await plan_text(watcher))
    except Exception as error:  # noqa: BLE001 the jobs are being submitted meanwhile, and must be watched
        get_run_logger().warning("the plan is not published: %s", error)
    await publish_links(run, watcher)


async def plan_text(watcher: Watcher) -> str:
    """The plan as a document."""
    planned = watcher.plan
    rendered = await asyncio.to_thread(lambda: [watcher.backend.render(job) for job in planned.jobs])
    notes = "".join(f"- {note}\n" for note in planned.notes)
    jobs = "\n".join(f"## {job.name}\n\n```\n{text}\n```\n" for job, text in zip(planned.jobs, rendered, strict=True))
    return f"# {planned.model}\n\nResults: `{planned.folder}`\n\n{notes}\n{jobs}"


async def publish_links(run: EvaluationRun, watcher: Watcher, receipts: Sequence[Receipt] = ()) -> None:
    """Where its files and logs are and, once there are `receipts`, where its scores went. Whatever goes wrong is said only."""
    try:
        page = links_page(watcher.plan, socket.gethostname(), receipts)
        await write_artifact(run, "markdown", records.links_key(run.id), page)
    except Exception as error:  # noqa: BLE001 links are never worth an evaluation
        get_run_logger().warning("there are no links to files: %s", error)


async def publish_trouble(run: EvaluationRun, words: str) -> None:
    """Say in the progress table why nothing is submitted yet, where there is no table of an earlier engine."""
    if run.handles:
        return
    rows = [{**row, "message": words} for row in progress_rows(Watcher.of(run.id).plan.jobs, {})]
    with suppress(Exception):  # the log says it, too
        await write_table(run, records.progress_key(run.id), rows)


async def publish_progress(run: EvaluationRun, watcher: Watcher, done: asyncio.Event) -> None:
    """Keep the progress table up to date until `done`, and once more then. Whatever goes wrong delays it, no more."""
    display, last = Display(run, watcher), False
    while not last:
        last = done.is_set()
        try:
            await display.turn()
        except Exception as error:  # noqa: BLE001 a table that cannot be shown is never worth an evaluation
            display.complain(error)
        with suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), PROGRESS_SECONDS)


class Display:
    """The progress table as it was last shown, and what was said about it."""

    def __init__(self, run: EvaluationRun, watcher: Watcher) -> None:
        self._run = run
        self._watcher = watcher
        self._artifact: UUID | None = None
        self._shown: list[Row] = []
        self._said: dict[str, str] = {}
        self._rates = Rates()
        self._stalls = Stalls(watcher.config.execution.stall_timeout)

    async def turn(self) -> None:
        """One look: say what is new, end what stands still where that is asked for, and show the table."""
        rows = self._rates.rated(self._rows())
        stalled = self._stalls.look(rows, time.monotonic())
        rows = flagged(
            rows, {step: stalled_for(seconds) for step, seconds in stalled.items()} | self._watcher.ended_why
        )
        self._say()
        try:
            if rows != self._shown:
                await self._show(rows)
                self._shown = rows
        finally:
            await self._end_stalled(stalled)

    def complain(self, error: Exception) -> None:
        """Say once why the table is late; an API that is away is nothing special."""
        words = f"the progress table is late: {type(error).__name__}: {error}"
        usual = isinstance(error, httpx.HTTPError | OSError)
        if not usual and self._said.get("") != words:
            get_run_logger().warning(words)
        self._said[""] = words

    def _rows(self) -> list[Row]:
        jobs = self._watcher.plan.jobs
        names = [step.name for job in jobs for step in job.steps]
        return progress_rows(jobs, {name: sight for name in names if (sight := self._watcher.sight_of(name))})

    async def _end_stalled(self, stalled: Mapping[str, float]) -> None:
        for step, seconds in stalled.items():
            if step in self._said:
                continue
            cancel = self._watcher.config.execution.stall_action == "cancel"
            get_run_logger().warning("%s is stalled%s", step, ", and is cancelled" if cancel else "")
            if cancel:
                self._watcher.ended_why.setdefault(step, stalled_for(seconds))
            if not cancel or await release_step(self._watcher, step):
                self._said[step] = "stalled"

    async def _show(self, rows: list[Row]) -> None:
        if self._artifact is not None:
            try:
                await update_table(self._artifact, rows)
                return
            except httpx.HTTPStatusError as error:
                if error.response.status_code != httpx.codes.NOT_FOUND:
                    raise
        self._artifact = await write_table(self._run, records.progress_key(self._run.id), rows)

    def _say(self) -> None:
        for sight in self._watcher.sights:
            words = job_words(sight) + (f" ({self._watcher.trouble})" if self._watcher.trouble else "")
            if self._said.get(sight.handle.name) != words:
                self._said[sight.handle.name] = words
                get_run_logger().info(words)
