"""The task that plans an evaluation."""

import asyncio
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Failed

from proctor.configs.errors import ConfigError
from proctor.configs.resolved import resolved_yaml
from proctor.configs.schema import EvaluationConfig
from proctor.tasks import plan as planner
from proctor.tasks.names import planning
from proctor.tasks.plan import Plan
from proctor.tasks.records import EvaluationRun
from proctor.tasks.report import write_whole

CONFIG_FILE = "config.yaml"
"""In an evaluation's folder: what was measured, as `proctor run --config` reads it."""


def folder_of(config: EvaluationConfig, run: EvaluationRun) -> Path:
    """The folder on this machine that this evaluation keeps, however often it is started again."""
    return Path(planner.local_folder(config, run.id, run.due))


@task(task_run_name=planning, cache_policy=NO_CACHE, persist_result=False)
async def plan(config: EvaluationConfig, run: EvaluationRun) -> Plan | State[Any]:
    """What to run, from the config alone; the same for every engine of this evaluation. A mistake in it: Failed."""
    try:
        planned = await asyncio.to_thread(planner.plan, config, run.id, run.due)
    except ConfigError as error:
        return Failed(message=str(error))
    await asyncio.to_thread(write_whole, folder_of(config, run) / CONFIG_FILE, resolved_yaml(config))
    return planned
