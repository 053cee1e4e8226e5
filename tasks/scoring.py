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
def commit(folder: Path = Path(__file__).parent) -> str | None:
    """The commit of Proctor's own checkout, `-dirty` behind it where files in it were changed; None for a wheel.

    A wheel may lie in the checkout of another project, whose commit says nothing about ours.
    """
    top = git(folder, "rev-parse", "--show-toplevel")
    if top is None or Path(top) / "tasks" != folder.resolve():
        return None
    head, changed = git(folder, "rev-parse", "HEAD"), git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{head}-dirty" if head and changed else head


def git(folder: Path, *arguments: str) -> str | None:
    """What git says about the checkout that a folder lies in; None when there is none, or no git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
