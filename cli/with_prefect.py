"""The few things that need Prefect itself: imported by commands that really do them, after `meant_for`."""

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proctor.blocks.backend import Backend
    from proctor.cli.evaluations import FlowRun

Say = Callable[[str], None]


def meant_for(environment: Mapping[str, str]) -> None:
    """Let Prefect use this environment; it reads it once, when it is first imported."""
    os.environ.update(environment)


def set_up(say: Say, *, own: bool = False) -> None:
    """Work pool, deployments and automations into the server, then one reconciliation. Safe to repeat.

    `own` says that the server is this machine's own.
    """
    from prefect.client.orchestration import get_client  # noqa: PLC0415

    from proctor.flows.deployments import set_up as set_up_server  # noqa: PLC0415

    async def work() -> None:
        async with get_client() as client:
            await set_up_server(client, own=own)

    asyncio.run(work())
    reconcile(say)


def reconcile(say: Say) -> int:
    """Compare every evaluation with what is really there and mend the difference; says what, and how many."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415

    from proctor.flows.reconcile import reconcile_all  # noqa: PLC0415

    async def work() -> list[str]:
        async with get_client() as client:
            return await reconcile_all(client)

    done = asyncio.run(work())
    for sentence in done:
        say(sentence)
    return len(done)


def reap(say: Say, grace: float, *, dry_run: bool) -> int:
    """End what nobody wants any more; says what, and how much."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415

    from proctor.flows.reap import reap_all  # noqa: PLC0415

    async def work() -> list[str]:
        async with get_client() as client:
            return await reap_all(client, grace, dry_run=dry_run)

    done = asyncio.run(work())
    for sentence in done:
        say(sentence)
    return len(done)


def release(flow_run_id: str) -> int:
    """End every job that an evaluation's labels name, close its benchmarks' runs; the answer is how many jobs."""
    from uuid import UUID  # noqa: PLC0415

    from prefect.client.orchestration import get_client  # noqa: PLC0415

    from proctor.configs.records import evaluation_id  # noqa: PLC0415
    from proctor.tasks.release import close_children, release_jobs  # noqa: PLC0415

    async def work() -> int:
        async with get_client() as client:
            handles = await release_jobs(client, await client.read_flow_run(UUID(flow_run_id)))
            await close_children(client, evaluation_id(flow_run_id))
            return len(handles)

    return asyncio.run(work())


def backend_of(run: "FlowRun") -> "Backend":
    """The backend that an evaluation's jobs run on."""
    from proctor.blocks.registry import make_backend  # noqa: PLC0415
    from proctor.configs.schema import EvaluationConfig  # noqa: PLC0415

    return make_backend(EvaluationConfig.model_validate(run.parameters["config"]).execution)


def release_step(run: "FlowRun", step: str) -> int:
    """End one step of an evaluation's jobs; the answer is in how many jobs it was."""
    from proctor.configs.host_env import on_behalf_of  # noqa: PLC0415

    handles = [handle for handle in run.handles if step in handle.steps]
    with on_behalf_of(run.id):
        backend_of(run).cancel(handles, step)
    return len(handles)
