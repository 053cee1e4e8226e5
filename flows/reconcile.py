"""The flow `reconcile`: compare every evaluation with what is really there, and mend the difference."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import SetStateStatus
from prefect.logging import get_logger
from prefect.states import Cancelled, Crashed, Scheduled

from proctor.configs import records
from proctor.tasks.engine_lock import engine_place
from proctor.tasks.heartbeats import silent
from proctor.tasks.mending import SILENCE, Cure, Found, cure
from proctor.tasks.orphans import close_dead_machine_runs, close_orphans
from proctor.tasks.pages import every_run
from proctor.tasks.records import handles_in
from proctor.tasks.release import close_children, release_jobs

UNSETTLED = ["PENDING", "RUNNING", "CANCELLING", "CRASHED"]
LOOK_BACK = timedelta(days=7)
SECOND_LOOK = 5.0
"""Seconds in which a live worker reports the end of an engine by itself."""
HEARTBEATS_LATER = 65.0
"""Seconds in which an engine on another machine sends two heartbeats: the server may have been away, and not the engine."""


@flow(name="reconcile")
async def reconcile() -> list[str]:
    """Bring back evaluations whose engine died, finish cancellations that hang, release jobs nobody waits for.

    The answer says in one sentence each what was done.
    """
    async with get_client() as client:
        return await reconcile_all(client)


async def reconcile_all(client: PrefectClient, *, orphans: bool = True) -> list[str]:
    """The same outside of a flow run: for `proctor reconcile`. Safe to repeat and to run twice at the same time.

    `orphans` says whether to look, too, for benchmark runs whose evaluation is over, and for dead runs of the upkeep.
    """
    amiss = [(run, what) for run, what in await diagnosed(client) if what != "leave alone"]
    done = await asyncio.gather(*(mend(client, run, what) for run, what in amiss))
    closed = [*await close_orphans(client), *await close_dead_machine_runs(client)] if orphans else []
    return [sentence for sentence in [*done, *closed] if sentence]


async def planned_cures(client: PrefectClient) -> list[str]:
    """What `reconcile_all` would do, without doing it."""
    found = [(records.evaluation_id(run.id), what) for run, what in await diagnosed(client)]
    return [f"{name}: {what}" for name, what in found if what != "leave alone"]


async def diagnosed(client: PrefectClient) -> list[tuple[FlowRun, Cure]]:
    """Every evaluation that is not over, or was cancelled, and what to do about it."""
    runs = await evaluations(client, [*UNSETTLED, "CANCELLED"])
    return [(run, cure(await examine(client, run))) for run in runs]


async def evaluations(client: PrefectClient, states: Sequence[str]) -> list[FlowRun]:
    """The evaluations of the last days that are in one of these states."""
    wanted: dict[str, Any] = {
        "tags": {"all_": [records.EVALUATION_TAG]},
        "state": {"type": {"any_": list(states)}},
        "expected_start_time": {"after_": datetime.now(UTC) - LOOK_BACK},
    }
    return await every_run(client, wanted)


async def examine(client: PrefectClient, run: FlowRun) -> Found:
    """What can be seen of a run from here; the server is asked only about engines on other machines."""
    state = run.state
    age = (datetime.now(UTC) - state.timestamp).total_seconds() if state else 0.0
    found = Found(
        state=state.type.value if state else "SCHEDULED",
        age=age,
        engine=engine_place(str(run.labels.get(records.ENGINE_LABEL, ""))),
        deployed=run.deployment_id is not None,
        jobs=bool(handles_in(run.labels)),
        released=bool(run.labels.get(records.RELEASED_LABEL)),
        runs=run.run_count - int(run.labels.get(records.HANDED_BACK_LABEL, 0)),
        name=(state.name if state else "") or "",
    )
    if found.state == "RUNNING" and found.engine == "elsewhere" and age > SILENCE:
        return replace(found, silent=await silent(client, run.id))
    return found


async def mend(client: PrefectClient, run: FlowRun, what: Cure) -> str:
    """Do it; the answer says so, and is empty when it was no longer needed."""
    name = records.evaluation_id(run.id)
    try:
        if what in {"bring back", "call crashed"}:
            return await bring_back(client, run, what)
        if what == "give up":
            return await end(client, run, "`proctor run` was interrupted before it had started it")
        handles = await release_jobs(client, run)
        await close_children(client, name)
        if what == "finish cancelling":
            await end(client, run, "its engine had ended before")
        return f"{name}: cancelled, {len(handles)} jobs released"
    except Exception as error:  # noqa: BLE001 one evaluation that cannot be mended now must not hide the others
        get_logger("proctor").warning("%s is not mended: %s", name, error)
        return f"{name}: not mended, {error}"


async def end(client: PrefectClient, run: FlowRun, why: str) -> str:
    """Cancel a run that nobody drives."""
    over: State[Any] = Cancelled(message=why)
    await client.set_flow_run_state(run.id, over, force=True)
    return f"{records.evaluation_id(run.id)}: cancelled, {why}"


async def bring_back(client: PrefectClient, run: FlowRun, what: Cure) -> str:
    """Schedule a run again whose engine is dead, unless a worker or an automation does so meanwhile.

    One that no worker can take is only called what it is.
    """
    elsewhere = engine_place(str(run.labels.get(records.ENGINE_LABEL, ""))) == "elsewhere"
    await asyncio.sleep(HEARTBEATS_LATER if elsewhere else SECOND_LOOK)
    now = await client.read_flow_run(run.id)
    if now.state_id != run.state_id or cure(await examine(client, now)) != what:
        return ""
    crashed: State[Any] = Crashed(message="its engine is dead")
    if now.state and not now.state.is_crashed():
        answer = await client.set_flow_run_state(run.id, crashed)  # not forced: it may end between the two requests
        if answer.status is not SetStateStatus.ACCEPT:
            return ""
    name = records.evaluation_id(run.id)
    if what == "call crashed":
        await close_children(client, name, crashed)
        return f"{name}: its process is gone, and no worker can bring it back"
    again: State[Any] = Scheduled(name="AwaitingRetry", message="comes back")
    await client.set_flow_run_state(run.id, again)
    return f"{name}: its engine was dead, it comes back"
