"""What goes on beside the benchmarks (tables, records, listening) may fail, and the scores still come."""

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from proctor.blocks.job import JobSpec
from proctor.blocks.simulated.block import SimulatedBackend
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.api import prompt_api
from proctor.tasks.cancellation import LISTEN_SECONDS
from proctor.tasks.plan import plan
from proctor.tasks.publish import publish_plan
from proctor.tasks.records import this_run
from proctor.tasks.watch import Watcher
from tests.flows.stack import Stack
from tests.flows.test_evaluate import config
from tests.flows.test_reattach import HARNESS, begin, go, jobs
from tests.waiting import wait_for

pytestmark = pytest.mark.live


def test_a_benchmark_whose_run_was_deleted_keeps_its_scores_and_the_others_theirs(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("simulated", config(tmp_path, "mmath_en", "mmath_zh", step_seconds=20))
    wait_for(lambda: len(run.benchmarks()) == 2)
    stack.delete(f"/flow_runs/{run.benchmarks()[0]['id']}")
    assert run.until() == "Completed", run.message
    results = json.loads((run.folder / "results.json").read_text())
    assert [each["state"] for each in results["benchmarks"]] == ["COMPLETED"] * 2


def test_a_progress_table_that_was_deleted_is_written_again(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("simulated", config(tmp_path, "mmath_en", "mmath_zh", step_seconds=20))
    key = f"progress-{run.id}"
    found = wait_for(lambda: stack.filter("/artifacts/filter", artifacts={"key": {"any_": [key]}}))
    stack.delete(f"/artifacts/{found[0]['id']}")
    assert run.until() == "Completed", run.message
    assert [row["state"] for row in json.loads(run.artifact("progress"))] == ["COMPLETED"] * 2


class Unshowable(SimulatedBackend):
    """A backend with a mistake in what shows its jobs."""

    _block_type_slug = "proctor-unshowable"

    def render(self, job: JobSpec) -> str:
        raise KeyError(job.name)


def test_a_plan_that_cannot_be_shown_ends_nothing(stack: Stack, tmp_path: Path) -> None:
    settings = EvaluationConfig.model_validate(config(tmp_path, "mmath_en"))

    @flow
    async def publish() -> str:
        async with prompt_api():
            run, planned = await this_run(), plan(settings, "0000abcd", datetime.now(UTC))
            async with Watcher.watching(Unshowable(), settings, planned) as watcher:
                await publish_plan(run, watcher)
        return "goes on"

    with temporary_settings({PREFECT_API_URL: stack.api}):
        assert asyncio.run(publish()) == "goes on"


def test_a_listener_that_fails_is_no_cancellation(stack: Stack, tmp_path: Path, endpoint: str, cache: str) -> None:
    place: dict[str, Any] = {"execution": {"type": "process", "cache_dir": cache}, "task": {"packages": [str(HARNESS)]}}
    run = begin(stack, tmp_path, endpoint, place)
    (job,) = jobs(run)
    missing = tmp_path / "missing"
    (run.folder / "alpha.0" / ".proctor" / f"cancel-{job}").symlink_to(missing / "note")  # so nobody can write it
    (alpha,) = wait_for(lambda: [each for each in run.benchmarks() if each["name"] == "fake.alpha"])
    run.cancel(alpha["id"])
    wait_for(lambda: "is not released yet" in logs(stack, run.flow_run_id))
    time.sleep(2.5 * LISTEN_SECONDS)
    assert logs(stack, run.flow_run_id).count("is not released yet") == 1, "it is tried again, and not said again"
    missing.mkdir()
    wait_for(lambda: run.states()["alpha"] == "Cancelled", 30)
    go(run)
    assert run.until() == "Failed", run.message
    assert run.states() == {"alpha": "Cancelled", "beta": "Completed"}


def logs(stack: Stack, flow_run_id: str) -> str:
    """What an evaluation has logged."""
    lines = stack.filter("/logs/filter", logs={"flow_run_id": {"any_": [flow_run_id]}})
    return "\n".join(str(each["message"]) for each in lines)
