"""Ending the jobs of an evaluation that is over, from its flow run's record alone: in any process, on any host."""

import asyncio
from collections.abc import Sequence
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelled

from proctor.blocks.job import JobHandle
from proctor.blocks.registry import make_backend
from proctor.configs import records
from proctor.configs.host_env import forget, on_behalf_of
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.pages import every_run
from proctor.tasks.records import handles_in

UNFINISHED = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING]


def config_of(flow_run: FlowRun) -> EvaluationConfig:
    """The config that an evaluation was started with."""
    return EvaluationConfig.model_validate(flow_run.parameters["config"])


async def release_jobs(client: PrefectClient, flow_run: FlowRun) -> Sequence[JobHandle]:
    """End every job that the run's labels name, with its servers; says which. Safe to repeat."""
    handles = handles_in(flow_run.labels)
    evaluation = records.evaluation_id(flow_run.id)
    if handles:
        backend = make_backend(config_of(flow_run).execution)
        with on_behalf_of(evaluation):
            await asyncio.to_thread(backend.cancel, handles)
    await client.update_flow_run_labels(flow_run.id, {records.RELEASED_LABEL: True})
    forget(evaluation)
    return handles


async def children(client: PrefectClient, evaluation: str, states: Sequence[StateType]) -> list[FlowRun]:
    """The benchmark runs of an evaluation that are in one of these states."""
    wanted: dict[str, Any] = {
        "tags": {"all_": [records.BENCHMARK_TAG, records.evaluation_tag(evaluation)]},
        "state": {"type": {"any_": list(states)}},
    }
    return await every_run(client, wanted)


async def close_children(client: PrefectClient, evaluation: str, end: State[Any] | None = None) -> None:
    """End the benchmark runs that nobody drives any more in this state, else as Cancelled."""
    over: State[Any] = end or Cancelled(message="the evaluation was cancelled")
    for child in await children(client, evaluation, UNFINISHED):
        await client.set_flow_run_state(child.id, over, force=True)
