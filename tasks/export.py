"""The task that exports the scores of an evaluation."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Failed

from proctor.blocks.errors import ResultError
from proctor.configs import records
from proctor.tasks.assemble import evaluation_result, unscored
from proctor.tasks.environment import absolute
from proctor.tasks.records import EvaluationRun, write_artifact, write_table
from proctor.tasks.report import write_report
from proctor.tasks.results import BenchmarkResult, EvaluationResult, score_rows
from proctor.tasks.scoring import measured, score_once
from proctor.tasks.verdict import Outcome
from proctor.tasks.watch import Watcher


@task(task_run_name="export {run.id}", cache_policy=NO_CACHE, persist_result=False)
async def export(run: EvaluationRun, outcomes: Sequence[Outcome]) -> str | State[None]:
    """Write the scores where the config wants them and as artifacts; the answer says where they are."""
    watcher = Watcher.of(run.id)
    config, local = watcher.config, watcher.config.export.local
    try:
        found = await asyncio.to_thread(collect, watcher, outcomes)
        result = evaluation_result(config, watcher.plan, str(run.flow_run_id), run.created, found)
        folder = Path(absolute(local.output_dir, config) if local.output_dir else watcher.plan.folder)
        files = await asyncio.to_thread(write_report, result, folder, local.format)
    except (ResultError, OSError) as error:
        return Failed(message=f"the scores are not exported: {error}")
    where = ", ".join(str(path) for path in files.values())
    await publish_scores(run, result, where)
    return where


def collect(watcher: Watcher, outcomes: Sequence[Outcome]) -> list[BenchmarkResult]:
    """The result of every benchmark, in the order of the plan; those without scores say why."""
    results = []
    for step, outcome in zip(watcher.plan.steps, outcomes, strict=True):
        what = measured(watcher, step)
        results.append(score_once(what) if outcome.ending == "scored" else unscored(what, outcome))
    return results


async def publish_scores(run: EvaluationRun, result: EvaluationResult, where: str) -> None:
    """The scores as a table for people, and the whole document for programs."""
    table = [{key: value for key, value in row.items() if key != "message"} for row in score_rows(result)]
    await write_table(run, records.scores_key(run.id), table, f"Files: {where}")
    await write_artifact(run, "json", records.results_key(run.id), json.loads(result.model_dump_json()))
