"""The tasks that bring the scores of an evaluation together and send them to their destinations."""

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.states import Failed
from prefect.tasks import Task

from proctor.blocks.errors import ExportError, ResultError
from proctor.configs import records
from proctor.configs.export_schema import Destination, DestinationSettings
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.assemble import evaluation_result, unscored
from proctor.tasks.exporters.dispatch import send
from proctor.tasks.in_time import in_time
from proctor.tasks.names import collection
from proctor.tasks.outgoing import Receipt, located
from proctor.tasks.previous import compare
from proctor.tasks.records import EvaluationRun, this_run, write_artifact, write_table
from proctor.tasks.results import BenchmarkResult, EvaluationResult, score_rows
from proctor.tasks.scoring import measured, score_once
from proctor.tasks.verdict import Outcome
from proctor.tasks.watch import Watcher

RETRY_SECONDS = [2.0, 10.0, 60.0]
"""Pauses before a destination is tried again."""


@task(task_run_name=collection, cache_policy=NO_CACHE, persist_result=False)
async def assemble(run: EvaluationRun, outcomes: Sequence[Outcome]) -> EvaluationResult | State[Any]:
    """The result of the evaluation, which is also stored as artifacts of its run."""
    watcher = Watcher.of(run.id)
    try:
        found = await asyncio.to_thread(collect, watcher, outcomes)
    except (ResultError, OSError) as error:
        return Failed(message=f"the scores are not exported: {error}")
    now = await this_run(fresh=True)
    result = evaluation_result(watcher.config, watcher.plan, str(run.flow_run_id), now.started, found)
    result, change = await compare(now, result)
    remarks = [f"{each.benchmark}: {each.message}" for each in found if each.scores and each.message]
    said = [f"Files: {watcher.plan.folder}", change, *remarks]
    await publish_scores(run, result, ". ".join(filter(None, said)))
    return result


def collect(watcher: Watcher, outcomes: Sequence[Outcome]) -> list[BenchmarkResult]:
    """The result of every benchmark, in the order of the plan; those without scores say why."""
    results = []
    for step, outcome in zip(watcher.plan.steps, outcomes, strict=True):
        what = measured(watcher, step)
        results.append(score_once(what) if outcome.ending == "scored" else unscored(what, outcome))
    return results


async def publish_scores(run: EvaluationRun, result: EvaluationResult, said: str) -> None:
    """The scores as a table for people, and the whole document for programs."""
    table = [{key: value for key, value in row.items() if key != "message"} for row in score_rows(result)]
    await write_table(run, records.scores_key(run.id), table, said)
    await write_artifact(run, "json", records.results_key(run.id), json.loads(result.model_dump_json()))


def worth_another_try(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a destination that failed may take the scores later."""
    error = state.data.exception if hasattr(state.data, "exception") else state.data
    return not isinstance(error, ExportError) or error.again


@task(
    task_run_name="export to {destination}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(RETRY_SECONDS),
    retry_delay_seconds=RETRY_SECONDS,
    retry_condition_fn=worth_another_try,
)
async def export_to(run: EvaluationRun, destination: Destination, result: EvaluationResult) -> Receipt:
    """Send the scores to one destination; the receipt is an artifact of the evaluation. Raises ExportError."""
    watcher = Watcher.of(run.id)
    settings = settings_of(watcher.config, destination)
    try:
        receipt = await in_time(partial(send, result, destination, settings, watcher.plan.folder), settings.timeout)
    except TimeoutError:
        raise ExportError(f"no answer within {settings.timeout:g} s", again=False) from None
    if receipt.missing:
        get_run_logger().warning("exported without files, which are not on this machine: %s", receipt.missing)
    await write_table(run, records.export_key(destination, run.id), [receipt.row()], receipt.where)
    return receipt


def settings_of(config: EvaluationConfig, destination: Destination) -> DestinationSettings:
    """The settings of a destination, with its paths as this machine knows them."""
    settings: DestinationSettings = getattr(config.export, destination)
    return located(settings, config.base_dir)
