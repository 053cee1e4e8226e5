"""The flow `reap`: find what carries our label and belongs to nobody any more, and end it."""

import asyncio
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from prefect import flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.logging import get_logger
from pydantic import ValidationError

from proctor.blocks.backend import Backend
from proctor.blocks.errors import BackendError, ConfigError
from proctor.blocks.registry import make_backend
from proctor.blocks.stray import Stray
from proctor.configs import records
from proctor.configs.host_env import env_file, forget, on_behalf_of
from proctor.flows.reconcile import planned_cures, reconcile_all
from proctor.tasks.orphans import known
from proctor.tasks.pages import every_run
from proctor.tasks.reaping import GRACE, Ended, place, reapable
from proctor.tasks.release import config_of

NEWEST = 600
"""How many evaluations are looked at to learn which machines are ours."""


@flow(name="reap")
async def reap(grace: float = GRACE, dry_run: bool = False) -> list[str]:
    """End containers, processes and jobs of evaluations that are over, and mend runs whose process is gone.

    Nothing is touched that belongs to an evaluation which this server does not know, or that ended less than `grace`
    seconds ago. The answer says in one sentence each what was done, or with `dry_run` what would be.
    """
    async with get_client() as client:
        return await reap_all(client, grace, dry_run=dry_run)


async def reap_all(client: PrefectClient, grace: float = GRACE, *, dry_run: bool = False) -> list[str]:
    """The same outside of a flow run: for `proctor reap`. Safe to repeat."""
    said = [f"would mend: {each}" for each in await planned_cures(client)] if dry_run else await reconcile_all(client)
    for backend, evaluation in backends(await newest(client)):
        try:
            with on_behalf_of(evaluation):
                done = await reap_one(client, backend, grace, dry_run=dry_run)
            said += [each for each in done if each not in said]  # a cluster may be known by two addresses
        except (BackendError, ConfigError) as error:
            get_logger("proctor").warning("not looked at: %s", error)
            said.append(f"not looked at: {error}")
    return said


async def reap_one(client: PrefectClient, backend: Backend, grace: float, *, dry_run: bool) -> list[str]:
    """What nobody wants any more on one machine."""
    strays = await asyncio.to_thread(backend.strays)
    known = await ends_of(client, {stray.evaluation for stray in strays})
    doomed: list[Stray] = reapable(strays, known, datetime.now(UTC), grace)
    if doomed and not dry_run:
        await asyncio.to_thread(backend.remove_strays, doomed)
        for evaluation in {stray.evaluation for stray in doomed}:
            forget(evaluation)
    return [f"{'would end' if dry_run else 'ended'} {each.what} of {each.evaluation}" for each in doomed]


async def newest(client: PrefectClient) -> list[FlowRun]:
    """The newest evaluations, a bounded number."""
    return await every_run(client, {"tags": {"all_": [records.EVALUATION_TAG]}}, most=NEWEST)


def backends(runs: Collection[FlowRun]) -> list[tuple[Backend, str]]:
    """A backend for each machine that these evaluations ran on, with an evaluation whose login opens it, if one is kept."""
    found: dict[str, tuple[Backend, str]] = {}
    for run in runs:
        evaluation = records.evaluation_id(run.id)
        try:
            execution = config_of(run).execution
            key = place(execution.model_dump())
            if key not in found or (env_file(evaluation).exists() and not env_file(found[key][1]).exists()):
                found[key] = (make_backend(execution), evaluation)
        except (ConfigError, ValidationError, KeyError):
            continue  # a config of another version, or a backend that is not installed here
    return list(found.values())


async def ends_of(client: PrefectClient, evaluations: Collection[str]) -> Mapping[str, Ended]:
    """How these evaluations stand, by id; those that this server does not know are left out."""
    return {
        records.evaluation_id(run.id): Ended(run.state.type.value, run.state.name or "", run.state.timestamp)
        for run in await known(client, evaluations)
        if run.state
    }
