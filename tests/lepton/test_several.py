"""Several jobs of one evaluation, each with a server of its own (`server_per_benchmark`): together, and apart."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from proctor.blocks.errors import RejectedError
from proctor.blocks.job import JobHandle, JobSpec, JobState
from proctor.blocks.job_files import step_files
from proctor.blocks.lepton.render import endpoint_name
from proctor.blocks.lepton.shares import job_name
from tests.lepton.login import log_in
from tests.lepton.place import RUNS, Place, asks
from tests.lepton.service import Service
from tests.waiting import wait_closely


@pytest.fixture
def place(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    log_in(monkeypatch, service)
    service.script("proctor-*-[0-9]", RUNS)
    yield Place(tmp_path, service)


def two(place: Place) -> tuple[JobSpec, JobSpec]:
    """The jobs of an evaluation with two benchmarks, as the plan makes them."""
    first = place.job(asks(place.step("a.0")), server=place.scripted())
    second = replace(first, name=first.name.replace("-0-1", "-1-1"), steps=(asks(place.step("b.1")),))
    return first, second


def running(place: Place) -> tuple[JobHandle, JobHandle]:
    first, second = place.submit(*two(place))
    for handle in (first, second):
        place.until(handle, lambda found: found.state is JobState.RUNNING)
    return first, second


def names(place: Place) -> set[str]:
    return {str(each["metadata"]["name"]) for each in place.service.endpoints}


def test_each_benchmark_asks_its_own_endpoint_with_its_own_token(place: Place) -> None:
    handles = running(place)
    assert names(place) == {endpoint_name(each) for each in handles}
    tokens = {place.service.secrets[f"{each.name}.PROCTOR_ENDPOINT_TOKEN"] for each in handles}
    assert len(tokens) == 2
    for handle in handles:
        script = place.service.workload(job_name(handle, 0)).spec["container"]["command"][-1]
        assert f"url: {place.service.api_endpoints.gateways[endpoint_name(handle)].url}/v1" in script


def test_one_listing_and_one_look_at_each_endpoint(place: Place) -> None:
    handles = running(place)
    before = len(place.service.requests)
    found = place.backend().poll(handles)
    assert {each.state for each in found.values()} == {JobState.RUNNING}
    asked = [each.path.rpartition("/")[2] for each in place.service.requests[before:]]
    assert sorted(asked) == sorted(["jobs", *(endpoint_name(each) for each in handles)])


def test_a_server_that_fails_ends_its_own_benchmark_alone(place: Place) -> None:
    first, second = running(place)
    place.service.script(endpoint_name(first), [("Error", None)])
    found = place.backend().poll([first, second])
    assert (found[first].state, found[second].state) == (JobState.FAILED, JobState.RUNNING)
    assert "server died: its endpoint is in the state Error" in found[first].steps["a.0"].message


def test_the_end_of_one_takes_nothing_of_the_other(place: Place) -> None:
    first, second = running(place)
    place.finish(first)
    assert place.wait(first).state is JobState.COMPLETED
    place.backend().cancel([first])
    wait_closely(lambda: names(place) == {endpoint_name(second)})
    assert {each.partition(".")[0] for each in place.service.secrets} == {second.name}
    assert place.status(second).state is JobState.RUNNING
    place.finish(second, "b.1")
    assert place.wait(second).state is JobState.COMPLETED
    place.backend().cancel([second])
    assert (place.service.endpoints, place.service.jobs, place.service.secrets) == ([], [], {})
    for handle, step in ((first, "a.0"), (second, "b.1")):
        assert (step_files(handle, step).folder / "server-models.json").exists()
        assert (place.backend().fetch(handle, step, place.folder.parent / "home") / "results.yml").exists()


def test_one_that_is_refused_keeps_no_other_from_running(place: Place) -> None:
    first, second = two(place)
    wrong = replace(first, server=replace(place.scripted(), port=70000))
    answers = place.backend().submit([wrong, second])
    assert isinstance(answers[wrong.name], RejectedError)
    handle = answers[second.name]
    assert isinstance(handle, JobHandle)
    place.until(handle, lambda found: found.state is JobState.RUNNING)
    assert names(place) == {endpoint_name(second)}


def test_all_of_them_are_cancelled_together(place: Place) -> None:
    handles = running(place)
    found = place.backend().cancel(handles)
    assert {each.state for each in found.values()} == {JobState.CANCELLED}
    assert (place.service.endpoints, place.service.jobs, place.service.secrets) == ([], [], {})
