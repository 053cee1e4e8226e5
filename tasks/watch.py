"""One watcher for all jobs of an evaluation: it asks the backend once per interval and wakes who waits for a step.

A thousand waiting benchmarks are a thousand futures: no thread, no connection and no question of their own.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress

from proctor.blocks.backend import Backend
from proctor.blocks.errors import BackendError, BackendUnavailableError
from proctor.blocks.job import JobHandle, JobSpec, JobState, ServerStatus, StepStatus
from proctor.configs.execution_schema import BaseExecution
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.attempts import family
from proctor.tasks.plan import Plan
from proctor.tasks.sight import Sight, first_sight, look, lost, out_of_sight, pace, stalled

Restart = Callable[[JobHandle, tuple[str, ...], tuple[str, ...]], Awaitable[None]]
"""Starts lost steps of a job, and those that wait behind them, again; tells it by `follow` or `give_up`."""

_watchers: dict[str, "Watcher"] = {}


class Watcher:
    """Knows how every step of an evaluation is doing. Of one event loop; blocking calls go to threads."""

    def __init__(self, backend: Backend, config: EvaluationConfig, plan: Plan) -> None:
        self.backend = backend
        self.config = config
        self.plan = plan
        self.cancelled = False
        """Whether the evaluation itself is being cancelled, so that nothing more may be submitted."""
        self.ended_why: dict[str, str] = {}
        """Why a step was ended by us, by its name."""
        self.complaints: dict[str, str] = {}
        """Why a step that was to be ended has not been, as it was last said."""
        self.trouble = ""
        """The last reason why the backend could not be asked; empty while it answers."""
        self.unreleased: set[str] = set()
        """Jobs that have ended and whose release failed when it was last tried."""
        self._execution: BaseExecution = config.execution
        self._sights: dict[str, Sight] = {}
        self._job_of: dict[str, str] = {}
        self._ended: dict[str, asyncio.Future[StepStatus]] = {}
        self._stopped: BackendUnavailableError | None = None
        self._looked = asyncio.Event()
        self._nudged = asyncio.Event()
        self._changed = time.monotonic()

    @classmethod
    @asynccontextmanager
    async def watching(cls, backend: Backend, config: EvaluationConfig, plan: Plan) -> AsyncIterator["Watcher"]:
        """A watcher that `of` finds by the id of the evaluation until the block is left."""
        watcher = cls(backend, config, plan)
        _watchers[plan.evaluation] = watcher
        try:
            yield watcher
        finally:
            del _watchers[plan.evaluation]

    @classmethod
    def of(cls, evaluation: str) -> "Watcher":
        """The watcher of an evaluation that this process drives."""
        return _watchers[evaluation]

    @property
    def sights(self) -> list[Sight]:
        """Every job, also those of earlier attempts, as last seen."""
        return list(self._sights.values())

    def sight_of(self, step: str) -> Sight | None:
        """The job that this step is in now, as last seen; None when its job was never accepted."""
        return self._sights.get(self._job_of.get(step, ""))

    def handles(self, job: JobSpec) -> list[JobHandle]:
        """Every attempt of a planned job, oldest first."""
        return [each.handle for each in self.sights if family(each.handle.name) == family(job.name)]

    def words_of(self, step: str) -> str:
        """What was last said about a step."""
        sight = self.sight_of(step)
        return sight.step(step).message if sight else ""

    def follow(self, handle: JobHandle) -> None:
        """Watch a submitted job. Its steps count from now on as steps of this job and of no earlier one."""
        self._sights[handle.name] = first_sight(handle, time.monotonic())
        self._job_of.update(dict.fromkeys(handle.steps, handle.name))
        self.nudge()

    def give_up(self, steps: Iterable[str], message: str) -> None:
        """Count these steps as failed: their job was refused."""
        for step in steps:
            self._end(step, StepStatus(JobState.FAILED, message=message))

    def nudge(self) -> None:
        """Look again now instead of at the end of the interval."""
        self._changed = time.monotonic()
        self._nudged.set()

    async def ended(self, step: str) -> StepStatus:
        """How a step ended, once it has.

        Raises BackendUnavailableError when nobody has seen it for longer than `execution.patience`.
        """
        return await asyncio.shield(self._future(step))

    async def answers(self, handle: JobHandle) -> ServerStatus | None:
        """The server of this job once it answers or has failed; None when the job's steps ended without it."""
        while True:
            sight = self._sights[handle.name]
            server = sight.status.server
            if sight.ended:
                return None
            if server and (server.state is JobState.RUNNING or server.state.final):
                return server
            await self._looked.wait()

    async def watch(self, restart: Restart) -> None:
        """Ask until this coroutine is cancelled. When anything else stops it, every open step is out of sight."""
        try:
            while True:
                await self._look()
                await self._start_again(restart)
                self._looked.set()
                self._looked = asyncio.Event()
                await self._pause()
        except Exception as error:
            reason = f"the jobs cannot be watched any more and were left alone: {type(error).__name__}: {error}"
            self._stopped = BackendUnavailableError(reason)
            for future in self._ended.values():
                if not future.done():
                    future.set_exception(self._stopped)
            raise

    async def _pause(self) -> None:
        quiet = time.monotonic() - self._changed
        pause = pace(self._execution, quiet)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._nudged.wait(), pause)
        self._nudged.clear()

    async def _look(self) -> None:
        live = [sight.handle for sight in self.sights if not self._settled(sight)]
        try:
            seen = await asyncio.to_thread(self.backend.poll, live) if live else {}
            self.trouble = ""
        except BackendError as error:  # refused or unreachable, it says nothing about the jobs
            seen, self.trouble = {}, str(error)
        now = time.monotonic()
        for handle in live:
            before = self._sights[handle.name]
            after = look(before, seen[handle], now) if handle in seen else before
            self._sights[handle.name] = after
            if after.status.steps != before.status.steps or after.status.server != before.status.server:
                self._changed = now
            self._wake(after, now)

    def _steps(self, sight: Sight) -> list[str]:
        """The steps that this job still answers for: a later attempt takes its own away."""
        return [step for step in sight.handle.steps if self._job_of[step] == sight.handle.name]

    def _settled(self, sight: Sight) -> bool:
        """Whether another look at this job can change nothing."""
        return all(self._future(step).done() for step in self._steps(sight))

    def _wake(self, sight: Sight, now: float) -> None:
        """Tell those who wait for steps of this job; steps that may be started again stay open."""
        for step in out_of_sight(sight, now, self._execution.patience):
            told = self.trouble or sight.doubts.get(step) or sight.status.message
            reason = told or "the backend answers, but knows nothing about it"
            error = BackendUnavailableError(
                f"nobody has seen {step} of {sight.handle.name} for {self._execution.patience:g} s ({reason}); "
                f"it was left alone, and `proctor resume {sight.handle.evaluation}` takes it up again"
            )
            if self._job_of[step] == sight.handle.name and not self._future(step).done():
                self._future(step).set_exception(error)
        for step in self._steps(sight):
            status = sight.step(step)
            if status.state.final and not lost(status):
                self._end(step, status)

    async def _start_again(self, restart: Restart) -> None:
        quiet = time.monotonic() - self._changed
        for sight in self.sights:
            open_steps = [step for step in self._steps(sight) if not self._future(step).done()]
            gone, waiting = stalled(sight, open_steps, quiet)
            if gone:
                await restart(sight.handle, gone, waiting)

    def _end(self, step: str, status: StepStatus) -> None:
        if not self._future(step).done():
            self._future(step).set_result(status)

    def _future(self, step: str) -> asyncio.Future[StepStatus]:
        if step not in self._ended:
            self._ended[step] = asyncio.get_running_loop().create_future()
            if self._stopped is not None:
                self._ended[step].set_exception(self._stopped)
        return self._ended[step]
