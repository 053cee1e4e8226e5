"""An endpoint that answered once may fall silent; nobody asks it in vain for hours."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proctor.blocks.job import JobHandle, JobState
from tests.lepton.login import log_in
from tests.lepton.place import RUNS, Place, asks
from tests.lepton.service import Service
from tests.waiting import wait_closely


@pytest.fixture
def place(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    log_in(monkeypatch, service)
    service.script("proctor-*-[0-9]", RUNS)
    yield Place(tmp_path, service)


def running(place: Place) -> JobHandle:
    (handle,) = place.submit(place.job(asks(place.step("a.0")), server=place.scripted()))
    place.until(handle, lambda found: found.state is JobState.RUNNING)
    return handle


def looks(place: Place, handle: JobHandle, *ages: float) -> JobState:
    """The state after looks at these intervals."""
    state = place.status(handle).state
    for age in ages:
        place.age(handle, age)
        state = place.status(handle).state
    return state


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 502}, {"drop": True}])
def test_one_that_falls_silent_ends_its_benchmarks(place: Place, fault: dict[str, Any]) -> None:
    handle = running(place)
    place.service.data_fault("GET", "*", times=None, **fault)
    assert looks(place, handle, 61, 100, 100) is JobState.RUNNING, "it may come back"
    assert looks(place, handle, 101) is JobState.FAILED
    status = place.status(handle)
    assert (status.steps["a.0"].exit_code, status.server and status.server.state) == (69, JobState.FAILED)
    assert "server died: its endpoint has not answered for 30" in status.steps["a.0"].message
    wait_closely(lambda: not [name for name in place.service.live() if name.endswith("-0")])


def test_one_that_comes_back_is_alive(place: Place) -> None:
    handle = running(place)
    place.service.data_fault("GET", "*", times=2, status=503)
    assert looks(place, handle, 61, 200, 200, 200) is JobState.RUNNING


def test_it_is_asked_once_a_minute(place: Place) -> None:
    handle = running(place)
    looks(place, handle, 61)
    before = len(place.service.data_requests)
    looks(place, handle, 10, 10, 10)
    assert len(place.service.data_requests) == before


class TestNamed:
    """The same for an endpoint that a config names."""

    def running(self, place: Place) -> JobHandle:
        container = {"image": "x", "ports": [{"container_port": 8000}]}
        resources = {"resource_shape": "gpu.1xh200", "min_replicas": 1, "max_replicas": 1}
        spec = {"container": container, "resource_requirement": resources, "api_tokens": [{"value": "its-own-token"}]}
        place.backend().workspace.create_endpoint({"metadata": {"name": "llama"}, "spec": spec})
        place.service.script("llama", [("Ready", None)])
        (handle,) = place.submit(place.job(asks(place.step("a.0"), "llama")))
        assert looks(place, handle, 61) is JobState.RUNNING, "a token that we do not send is an answer"
        return handle

    def test_one_that_is_stopped_meanwhile(self, place: Place) -> None:
        handle = self.running(place)
        place.service.script("llama", [("Stopped", None)])
        assert looks(place, handle, 61) is JobState.FAILED
        assert "the endpoint 'llama' was stopped on Lepton" in place.says(handle)

    def test_one_that_falls_silent(self, place: Place) -> None:
        handle = self.running(place)
        place.service.data_fault("GET", "*", times=None, drop=True)
        assert looks(place, handle, 61, 200) is JobState.RUNNING
        assert looks(place, handle, 101) is JobState.FAILED
        place.backend().cancel([handle])
        assert [each["metadata"]["name"] for each in place.service.endpoints] == ["llama"]
