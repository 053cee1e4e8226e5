"""The watcher: one question per interval for everybody who waits."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ConfigDict, Field

from proctor.blocks.backend import Backend
from proctor.blocks.errors import BackendError, BackendUnavailableError, RejectedError, TransientError
from proctor.blocks.job import JobHandle, JobSpec, JobState, JobStatus, StepStatus
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.plan import Plan, plan
from proctor.tasks.watch import Watcher


class Scripted(Backend):
    """A backend whose every look is the next line of a script; the last one stays."""

    script: list[JobState | Exception] = Field(default_factory=list)
    polls: int = 0

    model_config = ConfigDict(arbitrary_types_allowed=True)

    def render(self, job: JobSpec) -> str:
        return job.name

    def submit(self, jobs: Sequence[JobSpec]) -> dict[str, JobHandle | BackendError]:
        return {}

    def poll(self, handles: Collection[JobHandle]) -> dict[JobHandle, JobStatus]:
        now = self.script[min(self.polls, len(self.script) - 1)]
        self.polls += 1
        if isinstance(now, Exception):
            raise now
        steps = StepStatus(now, 0 if now is JobState.COMPLETED else None)
        return {
            handle: JobStatus(now, dict.fromkeys(handle.steps, steps), observed=datetime.now(UTC)) for handle in handles
        }

    def logs(self, handle: JobHandle, step: str | None, *, follow: bool, tail: int) -> Iterator[str]:
        yield ""

    def cancel(self, handles: Collection[JobHandle], step: str | None = None) -> dict[JobHandle, JobStatus]:
        return {}

    def fetch(self, handle: JobHandle, step: str, dest: Path) -> Path:
        return dest / step


def planned(patience: float = 60.0) -> tuple[EvaluationConfig, Plan]:
    config = EvaluationConfig.model_validate(
        {
            "execution": {"type": "simulated", "output_dir": "/r", "poll_interval": 0.01, "patience": patience},
            "target": {"api_endpoint": {"url": "http://127.0.0.1:9/v1/chat/completions", "model_id": "m"}},
            "evaluation": {"tasks": [{"name": "mmath_en"}]},
        }
    )
    return config, plan(config, "0000abcd", datetime.now(UTC))


async def end(steps: int, *script: JobState | Exception, patience: float = 60.0) -> tuple[list[JobState], int]:
    """How this many steps ended, and how often the backend was asked meanwhile."""
    config, what = planned(patience)
    backend = Scripted(script=list(script))
    handle = JobHandle("simulated", "proctor-0000abcd-0-0-1", "0000abcd", "/r", tuple(f"s.{n}" for n in range(steps)))

    async def never(handle: JobHandle, lost: tuple[str, ...], waiting: tuple[str, ...]) -> None:
        raise AssertionError("nothing is lost")

    async with Watcher.watching(backend, config, what) as watcher:
        watcher.follow(handle)
        watching = asyncio.create_task(watcher.watch(never))
        try:
            statuses = await asyncio.gather(*(Watcher.of("0000abcd").ended(step) for step in handle.steps))
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    return [status.state for status in statuses], backend.polls


def test_a_thousand_waits_are_one_question_per_interval() -> None:
    states, polls = asyncio.run(end(1000, JobState.PENDING, JobState.RUNNING, JobState.COMPLETED))
    assert states == [JobState.COMPLETED] * 1000
    assert polls == 3


def test_lost_connections_are_survived() -> None:
    away = TransientError("no route to host")
    states, polls = asyncio.run(end(1, JobState.RUNNING, away, away, JobState.UNKNOWN, JobState.COMPLETED))
    assert (states, polls) == ([JobState.COMPLETED], 5)


def test_out_of_patience_says_why() -> None:
    with pytest.raises(BackendUnavailableError, match=r"no route to host.*proctor resume 0000abcd"):
        asyncio.run(end(2, JobState.RUNNING, TransientError("no route to host"), patience=0.1))


def test_a_backend_that_refuses_to_answer_is_no_evidence_about_its_jobs() -> None:
    refused = RejectedError("the Docker engine refused: internal error")
    states, polls = asyncio.run(end(2, JobState.RUNNING, refused, JobState.COMPLETED))
    assert (states, polls) == ([JobState.COMPLETED] * 2, 3)


def test_whatever_stops_the_watching_leaves_the_jobs_alone() -> None:
    with pytest.raises(BackendUnavailableError, match="left alone: KeyError: 'State'"):
        asyncio.run(end(2, JobState.RUNNING, KeyError("State")))
