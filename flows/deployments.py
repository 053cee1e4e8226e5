"""Our deployments, from the one list that `prefect deploy --all` reads too."""

import shlex
import sys
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.client.schemas.schedules import construct_schedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.types.entrypoint import EntrypointType

from proctor.flows.automations import apply_automations

POOL = "proctor"
"""The process work pool whose worker hosts our flows."""


def packaged(name: str) -> Path:
    """A file that this package ships: `prefect.yaml` (the deployments) or `prefect.toml` (the server's settings)."""
    return Path(str(files("proctor.flows") / name))


def deployments() -> list[dict[str, Any]]:
    """The deployments of prefect.yaml."""
    document = yaml.safe_load(packaged("prefect.yaml").read_text())
    return list(document["deployments"])


def engine_command() -> str:
    """How a worker on this machine starts one of our flow runs without a supervisor."""
    return shlex.join([sys.executable, "-m", "proctor.flows.engine"])


async def set_up(client: PrefectClient, *, own: bool = False) -> None:
    """Everything that a server needs to run evaluations: work pool, deployments, automations. Safe to repeat.

    With `own` the server serves this machine's worker alone, which then starts runs by `engine_command`.
    """
    with suppress(ObjectAlreadyExists):
        await client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    for entry in deployments():
        await (await deployment(entry, {"command": engine_command()} if own else {})).aapply()
    await apply_automations(client)


async def deployment(entry: dict[str, Any], job_variables: dict[str, Any]) -> RunnerDeployment:
    """One entry of prefect.yaml, with these job variables added, as Prefect's own value."""
    flow: Flow[..., Any] = load_flow_from_entrypoint(entry["entrypoint"], use_placeholder_flow=False)
    return await flow.ato_deployment(
        name=entry["name"],
        description=entry["description"],
        parameters=entry.get("parameters", {}),
        tags=entry.get("tags", []),
        schedules=[schedule(each) for each in entry.get("schedules", [])],
        concurrency_limit=limit(entry.get("concurrency_limit")),
        work_pool_name=entry["work_pool"]["name"],
        job_variables=entry["work_pool"]["job_variables"] | job_variables,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def schedule(entry: dict[str, Any]) -> DeploymentScheduleCreate:
    """One entry of a deployment's schedules."""
    when = {name: entry[name] for name in ("interval", "cron", "rrule", "timezone") if name in entry}
    rest = {name: entry[name] for name in ("slug", "active", "parameters") if name in entry}
    return DeploymentScheduleCreate(schedule=construct_schedule(**when), **rest)


def limit(entry: dict[str, Any] | None) -> ConcurrencyLimitConfig | None:
    """How many runs of a deployment there may be at a time, and what becomes of the others."""
    return ConcurrencyLimitConfig.model_validate(entry) if entry else None
