"""The task that turns what a harness left into typed scores."""

import asyncio
import functools
import subprocess
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Failed

from proctor.blocks.errors import ResultError
from proctor.tasks.assemble import SCORE_FILE, Measured, headline, score, stored
from proctor.tasks.report import write_whole
from proctor.tasks.results import BenchmarkResult
from proctor.tasks.watch import Watcher


@task(task_run_name="parse {step}", cache_policy=NO_CACHE, persist_result=False)
async def parse(evaluation: str, step: str) -> str | State[Any]:
    """Write down the scores of one benchmark beside its results; the answer says in a line what they are."""
    try:
        result = await asyncio.to_thread(score_once, measured(Watcher.of(evaluation), step))
    except (ResultError, OSError) as error:
        return Failed(message=str(error))
    return headline(result)


def measured(watcher: Watcher, step: str) -> Measured:
    """What is known here about a step that has ended."""
    return Measured(watcher.config, watcher.plan, step, watcher.sight_of(step), commit())


def score_once(what: Measured) -> BenchmarkResult:
    """The result of a step, read from its score file where an earlier engine left one. Raises ResultError."""
    found = stored(what.folder)
    if found is None:
        found = score(what)
        write_whole(what.folder / SCORE_FILE, found.model_dump_json(indent=2) + "\n")
    return found


@functools.cache
def commit() -> str | None:
    """The commit of Proctor's own checkout; None when it was installed from a wheel."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
