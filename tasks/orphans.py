"""Benchmark runs that nobody will ever end, because their evaluation is over."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Crashed

from proctor.configs import records
from proctor.configs.pages import PAGE
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
