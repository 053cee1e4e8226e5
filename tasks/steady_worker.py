"""Prefect's process worker, which neither a run in trouble nor a server in trouble ends, and with it all other runs.

Prefect's own one stops, and kills every engine that it has started, when it is given a run whose engine it still waits for
(`CapacityLimiter` refuses the second slot; an evaluation that waits for another machine comes back within a second), when a
request fails that takes up a run (`BaseWorker._submit_run`), and when the server fails for most of a minute
(`prefect.utilities.services`).
"""

import time
import warnings
from abc import ABC
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import anyio
import anyio.abc
import httpx
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.utilities.dispatch import register_type
from prefect.workers.base import BaseWorkerResult
from prefect.workers.process import ProcessWorker

PAUSE = 10.0
"""Seconds until a server that failed is asked again."""

IN_FULL = 10.0
"""Seconds between two full questions for what is due, of which the server keeps when a pool and its queues were last asked."""

T = TypeVar("T")


class SteadyWorker(ProcessWorker, ABC):  # ABC as a direct base: Prefect registers it only where we say so
    """A process worker that stops when it is told to, or when the server refuses it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._here: set[UUID] = set()
        self._were_here: set[UUID] = set()
        self._in_full_at = 0.0

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """What is due, taken up; nothing while the server fails."""
        return await self._unless_it_fails(super().get_and_submit_flow_runs, [])

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        """What is due. The full question costs the server six transactions and a tenth of a core when asked every second,
        so in between it is only asked when there is something."""
        if time.monotonic() < self._in_full_at and not await self._something_is_due():
            return []
        self._in_full_at = time.monotonic() + IN_FULL
        self._were_here = set(self._here)  # what ends while the answer is under way is over, although the answer has it
        return await super()._get_scheduled_flow_runs()

    async def _something_is_due(self) -> bool:
        soon = datetime.now(UTC) + timedelta(seconds=self._prefetch_seconds)
        due = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
            next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=soon),
        )
        pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[self._work_pool_name]))
        return bool(await self.client.count_flow_runs(flow_run_filter=due, work_pool_filter=pool))

    async def _sync_and_initialize(self) -> None:
        if not self.is_setup:  # what is wrong at the start is the caller's to know
            await super()._sync_and_initialize()
        else:
            await self._unless_it_fails(super()._sync_and_initialize, None)

    async def _submit_scheduled_flow_runs(self, flow_run_response: list[WorkerFlowRunResponse]) -> list[FlowRun]:
        free = [each for each in flow_run_response if each.flow_run.id not in self._here | self._were_here]
        return await super()._submit_scheduled_flow_runs(free)

    async def _submit_run(self, flow_run: FlowRun) -> None:
        try:
            await super()._submit_run(flow_run)
        except Exception:
            self._logger.exception("%s is not taken up now", flow_run.name)
            self._submitting_flow_run_ids.discard(flow_run.id)
            if flow_run.id not in self._here:
                self._release_limit_slot(flow_run.id)

    async def _submit_run_and_capture_errors(
        self, flow_run: FlowRun, task_status: anyio.abc.TaskStatus[int | Exception] | None = None
    ) -> BaseWorkerResult | Exception:
        self._here.add(flow_run.id)
        try:
            return await super()._submit_run_and_capture_errors(flow_run, task_status)
        finally:
            self._here.discard(flow_run.id)

    async def _cancel_run(self, flow_run_id: UUID) -> None:
        try:
            await super()._cancel_run(flow_run_id)
        except Exception:
            self._logger.exception("%s is not cancelled now", flow_run_id)

    async def _unless_it_fails(self, ask: Callable[[], Awaitable[T]], otherwise: T) -> T:
        try:
            return await ask()
        except Exception as error:
            if isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500:
                raise
            self._logger.warning("the Prefect server fails, and is asked again in %g s: %s", PAUSE, error)
            await anyio.sleep(PAUSE)
            return otherwise


def register() -> None:
    """From now on the process worker of this process is a steady one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it replaces one, which is what we want
        register_type(SteadyWorker)
