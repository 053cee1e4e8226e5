"""The flow runs of an evaluation's benchmarks: a state, logs and tags of their own, for two requests and one at the end.

Prefect's own subflow call makes ten requests for each (`prefect.flow_engine`), which is most of what an evaluation of
short benchmarks would cost, and half of them come at the same moment, which SQLite answers with 503.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from prefect.client.schemas.actions import FlowRunCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import SetStateStatus
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Running, to_state_create
from prefect.tasks import Task

from proctor.blocks.job import Step
from proctor.configs import records
from proctor.tasks.api import api
from proctor.tasks.pages import every_run
from proctor.tasks.records import EvaluationRun


class BenchmarkRuns:
    """Begins and ends the runs of one evaluation's benchmarks, one request at a time: SQLite bears one writer."""

    def __init__(self, started: EvaluationRun, flow: Flow[..., Any], flow_id: UUID, found: dict[str, FlowRun]) -> None:
        self._started = started
        self._flow = flow
        self._flow_id = flow_id
        self._found = found
        self._turn = asyncio.Lock()

    @classmethod
    async def of(cls, started: EvaluationRun, flow: Flow[..., Any]) -> "BenchmarkRuns":
        """The runs of this evaluation, with those that earlier engines of it began."""
        flow_id = await api().create_flow(flow)
        return cls(started, flow, flow_id, await _newest(started) if started.handles else {})

    async def begin(self, step: Step, parameters: dict[str, Any]) -> FlowRun:
        """The run of a benchmark, Running from now on; one that an earlier engine left unfinished, or scored, is kept."""
        known = self._found.get(step.name)
        if known and known.state and (known.state.is_completed() or not known.state.is_final()):
            return known
        async with self._turn:
            parent = await api().create_task_run(
                Task(self._flow.fn, name=self._flow.name),
                self._started.flow_run_id,
                dynamic_key=step.name if not known else f"{step.name} after {known.id}",
                name=step.benchmark,
            )
            wanted = FlowRunCreate(
                flow_id=self._flow_id,
                name=step.benchmark,
                parameters=parameters,
                parent_task_run_id=parent.id,
                idempotency_key=str(parent.id),
                state=to_state_create(Running()),
                tags=[
                    records.BENCHMARK_TAG,
                    records.evaluation_tag(self._started.id),
                    records.benchmark_tag(step.benchmark),
                ],
            )
            answer = await api().request("POST", "/flow_runs/", json=wanted.model_dump(mode="json", exclude_unset=True))
        return FlowRun.model_validate(answer.json())

    @contextmanager
    def inside(self, run: FlowRun) -> Iterator[None]:
        """Tasks and logs of this block belong to the benchmark's run."""
        outer = FlowRunContext.get()
        if outer is None:
            raise RuntimeError("a benchmark runs inside the flow run of its evaluation")
        with FlowRunContext(
            flow=self._flow,
            flow_run=run,
            parameters=run.parameters,
            client=outer.client,
            task_runner=outer.task_runner,
            result_store=outer.result_store,
            persist_result=False,
        ):
            yield

    async def end(self, run: FlowRun, state: State[Any]) -> State[Any]:
        """End a run in this state, or in Cancelled where somebody has cancelled it meanwhile; the answer is its end.

        A server that was away may have taken the state and lost its answer; it then refuses to take it twice.
        """
        async with self._turn:
            try:
                answer = await api().set_flow_run_state(run.id, state)
            except ObjectNotFound:
                get_run_logger().warning("the run of %s was deleted; its benchmark counts as it ended", run.name)
                return state
            if answer.status is SetStateStatus.ACCEPT:
                return state
            now = (await api().read_flow_run(run.id)).state
            if now is None or not now.is_cancelling():
                return state if now is None or now.type is state.type else now
            over: State[Any] = Cancelled(message="it had ended when it was cancelled")
            await api().set_flow_run_state(run.id, over, force=True)
            return over


async def _newest(started: EvaluationRun) -> dict[str, FlowRun]:
    """The newest run of each benchmark that an earlier engine began, by step."""
    wanted = {"tags": {"all_": [records.BENCHMARK_TAG, records.evaluation_tag(started.id)]}}
    runs = await every_run(api(), wanted)
    return {str(each.parameters["step"]): each for each in reversed(runs)}
