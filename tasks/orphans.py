"""Flow runs that nobody will ever end: of benchmarks whose evaluation is over, and of `reconcile` and `reap` themselves."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Crashed

from proctor.configs import records
from proctor.configs.pages import PAGE
from proctor.tasks.heartbeats import silent
from proctor.tasks.mending import SILENCE, SLOW_START
from proctor.tasks.pages import every_run
from proctor.tasks.release import UNFINISHED, close_children

QUIET = timedelta(seconds=30)
"""After the end of an evaluation; until then its engine may be closing them itself."""
TAG = records.evaluation_tag("")


async def close_orphans(client: PrefectClient) -> list[str]:
    """End them as crashed; the answer says in one sentence each of which evaluation."""
    wanted = {
        "tags": {"all_": [records.BENCHMARK_TAG]},
        "state": {"type": {"any_": [each.value for each in UNFINISHED]}},
    }
    names = {
        tag.removeprefix(TAG) for run in await every_run(client, wanted) for tag in run.tags if tag.startswith(TAG)
    }
    over: State[Any] = Crashed(message="its evaluation ended without it")
    ended = [records.evaluation_id(run.id) for run in await known(client, names) if is_over(run)]
    for name in ended:
        await close_children(client, name, over)
    return [f"{name}: it is over, and benchmarks that still seemed to run are ended" for name in ended]


async def close_dead_machine_runs(client: PrefectClient) -> list[str]:
    """End runs of `reconcile` and `reap` whose process is gone, as crashed; the answer says in one sentence each of which.

    Such a run would hold the only place of its deployment until its lease ends, and seem to go on for good.
    """
    wanted = {"tags": {"all_": [records.MACHINE_TAG]}, "state": {"type": {"any_": ["PENDING", "RUNNING"]}}}
    dead = [run for run in await every_run(client, wanted) if await is_dead(client, run)]
    for run in dead:
        over: State[Any] = Crashed(message="its process is gone")
        await client.set_flow_run_state(run.id, over)  # not forced: it may end between the two requests
    return [f"the run {run.name} of this machine's upkeep: its process is gone" for run in dead]


async def is_dead(client: PrefectClient, run: FlowRun) -> bool:
    """Whether it takes too long to begin, or has begun and is silent."""
    age = (datetime.now(UTC) - run.state.timestamp).total_seconds() if run.state else 0.0
    if run.state and run.state.is_running():
        return age > SILENCE and await silent(client, run.id)
    return age > SLOW_START


async def known(client: PrefectClient, names: Collection[str]) -> list[FlowRun]:
    """The evaluations of these ids that the server knows."""
    listed, found = sorted(names), list[FlowRun]()
    for start in range(0, len(listed), PAGE):
        tags = [records.evaluation_tag(name) for name in listed[start : start + PAGE]]
        found += await every_run(client, {"tags": {"any_": tags, "all_": [records.EVALUATION_TAG]}})
    return found


def is_over(run: FlowRun) -> bool:
    """Whether no engine will take it up again; a crashed one of a worker comes back."""
    state = run.state
    if state is None or not state.is_final() or (state.is_crashed() and run.deployment_id):
        return False
    return datetime.now(UTC) - state.timestamp > QUIET
