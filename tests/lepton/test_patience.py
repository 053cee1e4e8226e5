"""What stays wrong for good is given up when `execution.patience` is over, and left alone: the real watcher looks."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from proctor.blocks.errors import BackendUnavailableError
from proctor.blocks.job import JobHandle, JobState, StepStatus
from proctor.blocks.lepton import connection
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.plan import plan
from proctor.tasks.watch import Watcher
from tests.lepton.login import log_in
from tests.lepton.place import ENDS, RUNS, Place
from tests.lepton.service import Service


@pytest.fixture
def place(legacy: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    log_in(monkeypatch, legacy)
    monkeypatch.setattr(connection, "TRIES", 0)
    legacy.script("proctor-*-[0-9]", RUNS)
    yield Place(tmp_path, legacy, results={"via": "log"}, patience=0.5, poll_interval=0.05)


async def end(place: Place, handle: JobHandle) -> StepStatus:
    """How a step ends for who waits for it."""
    config = EvaluationConfig.model_validate(
        {
            "execution": place.execution.model_dump(mode="json"),
            "target": {"api_endpoint": {"url": "http://h/v1/chat/completions", "model_id": "m"}},
            "evaluation": {"tasks": [{"name": "mmath_en"}]},
        }
    )
    planned = plan(config, handle.evaluation, datetime.now(UTC))

    async def never(handle: JobHandle, lost: tuple[str, ...], waiting: tuple[str, ...]) -> None:
        raise AssertionError("nothing is lost")

    async with Watcher.watching(place.backend(), config, planned) as watcher:
        watcher.follow(handle)
        watching = asyncio.create_task(watcher.watch(never))
        try:
            return await asyncio.wait_for(watcher.ended(handle.steps[0]), 20)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"body": b"<html>"}, "something that the SDK cannot read"),
        ({"body": {"jobs": 3}}, "something that the SDK cannot read"),
        ({"status": 503}, "a problem of its own"),
        ({"status": 401}, "refuses the token"),
    ],
)
def test_a_list_that_cannot_be_had(place: Place, fault: dict[str, Any], words: str) -> None:
    (handle,) = place.submit(place.one())
    place.service.fault("GET", "/jobs", times=None, **fault)
    with pytest.raises(BackendUnavailableError, match=rf"nobody has seen a.0 .* for 0.5 s .*{words}.*proctor resume"):
        asyncio.run(end(place, handle))
    place.service.faults.clear()
    assert place.service.live(), "its job was left alone"


def test_results_in_a_log_that_cannot_be_read(place: Place) -> None:
    (handle,) = place.submit(place.one())
    place.service.script("*", ENDS)
    place.service.fault("GET", "/logs", times=None, body={"data": 3})
    with pytest.raises(BackendUnavailableError, match=r"something that is no log"):
        asyncio.run(end(place, handle))


def test_a_state_that_nobody_knows(place: Place) -> None:
    (handle,) = place.submit(place.one())
    place.service.script("*", [("Weird", None)])
    with pytest.raises(BackendUnavailableError, match="Lepton says UNK"):
        asyncio.run(end(place, handle))


def test_what_passes_in_time_is_nothing(place: Place, tmp_path: Path) -> None:
    place = Place(tmp_path, place.service, results={"via": "log"}, patience=60, poll_interval=0.05)
    (handle,) = place.submit(place.one())
    place.service.fault("GET", "/jobs", times=3, body=b"<html>")
    place.finish(handle)
    assert asyncio.run(end(place, handle)).state is JobState.COMPLETED
