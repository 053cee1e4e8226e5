"""The flow `reconcile`: compare every evaluation with what is really there, and mend the difference."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import SetStateStatus
from prefect.logging import get_logger
from prefect.states import Cancelled, Crashed, Scheduled

from proctor.configs import records
from proctor.tasks.engine_lock import engine_place
from proctor.tasks.mending import Cure, Found, cure
from proctor.tasks.records import handles_in
from proctor.tasks.release import close_children, release_jobs

UNSETTLED = ["PENDING", "RUNNING", "CANCELLING", "CRASHED"]
LOOK_BACK = timedelta(days=7)
SECOND_LOOK = 5.0
"""Seconds in which a live worker reports the end of an engine by itself."""


@flow(name="reconcile")
async def reconcile() -> list[str]:
    """Bring back evaluations whose engine died, finish cancellations that hang, release jobs nobody waits for.

    The answer says in one sentence each what was done.
    """
    async with get_client() as client:
        return await reconcile_all(client)


async def reconcile_all(client: PrefectClient) -> list[str]:
    """The same outside of a flow run: for `proctor reconcile`. Safe to repeat and to run twice at the same time."""
    runs = [*await evaluations(client, UNSETTLED), *await evaluations(client, ["CANCELLED"])]
    found = [(run, cure(examine(run))) for run in runs]
    done = await asyncio.gather(*(mend(client, run, what) for run, what in found if what != "leave alone"))
    return [sentence for sentence in done if sentence]


async def planned_cures(client: PrefectClient) -> list[str]:
    """What `reconcile_all` would do, without doing it."""
    runs = [*await evaluations(client, UNSETTLED), *await evaluations(client, ["CANCELLED"])]
    found = [(records.evaluation_id(run.id), cure(examine(run))) for run in runs]
    return [f"{name}: {what}" for name, what in found if what != "leave alone"]


async def evaluations(client: PrefectClient, states: Sequence[str]) -> list[FlowRun]:
    """The newest evaluations in one of these states."""
    wanted: dict[str, Any] = {
        "tags": {"all_": [records.EVALUATION_TAG]},
        "state": {"type": {"any_": list(states)}},
        "expected_start_time": {"after_": datetime.now(UTC) - LOOK_BACK},
    }
    return await client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(wanted))


def examine(run: FlowRun) -> Found:
    """What can be seen of a run from here."""
    state = run.state
    age = (datetime.now(UTC) - state.timestamp).total_seconds() if state else 0.0
    return Found(
        state=state.type.value if state else "SCHEDULED",
        age=age,
        engine=engine_place(str(run.labels.get(records.ENGINE_LABEL, ""))),
        deployed=run.deployment_id is not None,
        jobs=bool(handles_in(run.labels)),
        released=bool(run.labels.get(records.RELEASED_LABEL)),
        runs=run.run_count,
    )


async def mend(client: PrefectClient, run: FlowRun, what: Cure) -> str:
    """Do it; the answer says so, and is empty when it was no longer needed."""
    name = records.evaluation_id(run.id)
    try:
        if what == "bring back":
            return await bring_back(client, run)
        handles = await release_jobs(client, run)
        await close_children(client, name)
        if what == "finish cancelling":
            over: State[Any] = Cancelled(message="its engine had ended before")
            await client.set_flow_run_state(run.id, over, force=True)
        return f"{name}: cancelled, {len(handles)} jobs released"
    except Exception as error:  # noqa: BLE001 one evaluation that cannot be mended now must not hide the others
        get_logger("proctor").warning("%s is not mended: %s", name, error)
        return f"{name}: not mended, {error}"


async def bring_back(client: PrefectClient, run: FlowRun) -> str:
    """Schedule a run again whose engine is dead, unless a worker or an automation does so meanwhile."""
    await asyncio.sleep(SECOND_LOOK)
    now = await client.read_flow_run(run.id)
    if now.state_id != run.state_id or cure(examine(now)) != "bring back":
        return ""
    crashed: State[Any] = Crashed(message="its engine is dead")
    if now.state and not now.state.is_crashed():
        answer = await client.set_flow_run_state(run.id, crashed)  # not forced: it may end between the two requests
        if answer.status is not SetStateStatus.ACCEPT:
            return ""
    again: State[Any] = Scheduled(name="AwaitingRetry", message="comes back")
    await client.set_flow_run_state(run.id, again)
    return f"{records.evaluation_id(run.id)}: its engine was dead, it comes back"
