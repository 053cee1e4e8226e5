"""Ending what was asked for: everything of ours, nothing of anybody else's, and for good."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from proctor.blocks.errors import TransientError
from proctor.blocks.job import EnvVar, JobState
from proctor.blocks.job_files import step_files
from proctor.blocks.lepton import removal
from proctor.blocks.lepton.render import endpoint_name
from tests.lepton.login import log_in
from tests.lepton.place import RUNS, Place, asks, posts
from tests.lepton.sdk import client, endpoint
from tests.lepton.service import Service
from tests.waiting import wait_closely


@pytest.fixture
def place(legacy: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    log_in(monkeypatch, legacy)
    legacy.script("proctor-*-[0-9]", RUNS)
    yield Place(tmp_path, legacy)


@pytest.mark.slow
def test_after_a_removal_that_takes_its_time_nothing_more_is_started(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "GONE_SECONDS", 1.0)
    place.service.world.deletion = 3600
    (handle,) = place.submit(place.job(place.step("a.0"), place.step("b.1"), max_parallel=1))
    with pytest.raises(TransientError, match="has not removed"):
        place.backend().cancel([handle])
    assert place.says(handle) == "is being removed from Lepton"
    place.service.remove_at_once()
    wait_closely(lambda: not place.service.jobs)
    place.age(handle, 60)
    found = place.status(handle).steps
    assert {each.state for each in found.values()} == {JobState.CANCELLED}
    assert posts(place.service) == 1


@pytest.mark.slow
def test_one_step_whose_removal_takes_its_time_is_cancelled_and_no_other(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "GONE_SECONDS", 0.5)
    place.service.world.deletion = 3600
    (handle,) = place.submit(place.job(place.step("a.0"), place.step("b.1"), max_parallel=2))
    with pytest.raises(TransientError, match="has not removed"):
        place.backend().cancel([handle], "a.0")
    place.service.workload(f"{handle.name}-0").settle = 0
    wait_closely(lambda: place.jobs(handle) == [f"{handle.name}-1"])
    place.age(handle, 60)
    found = place.status(handle).steps
    assert (found["a.0"].state, found["b.1"].state) == (JobState.CANCELLED, JobState.RUNNING)


def test_a_container_that_begins_meanwhile_knows_that_its_end_is_meant(place: Place) -> None:
    (handle,) = place.submit(place.job(place.step("a.0"), place.step("b.1"), max_parallel=2))
    place.backend().cancel([handle], "a.0")
    assert [step_files(handle, name).cancelled.exists() for name in handle.steps] == [True, False]


@pytest.mark.slow
def test_a_job_that_arrives_after_its_end_was_asked_for_is_removed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "SETTLE", 3.0)
    place.service.world.list_lag = 1.5
    place.service.fault("POST", "/jobs", drop=True, after=True)
    job = place.one()
    with pytest.raises(TransientError):
        place.backend().submit([job])
    (handle,) = place.submit(job)
    assert place.backend().cancel([handle])[handle].state is JobState.CANCELLED
    assert place.service.live() == []


def test_one_that_is_not_listed_yet_is_removed_by_its_id(place: Place) -> None:
    place.service.world.list_lag = 60
    (handle,) = place.submit(place.one())
    place.backend().cancel([handle])
    wait_closely(lambda: place.service.jobs == [])


@pytest.mark.parametrize("deletable", [False, True])
def test_an_archived_job_is_no_obstacle_and_goes_where_it_can(place: Place, deletable: bool) -> None:
    place.service.world.archive_deletable = deletable
    (handle,) = place.submit(place.one())
    place.service.archive(f"{handle.name}-0")
    assert place.backend().cancel([handle])[handle].state.final
    if deletable:
        wait_closely(lambda: place.service.jobs == [])
    assert place.service.secrets == {}


@pytest.mark.slow
def test_all_removals_are_asked_for_before_the_first_is_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.service.world.deletion = 3600
    handles = [place.submit(place.one())[0] for _ in range(3)]
    monkeypatch.setattr(removal, "GONE_SECONDS", 5.0)
    with pytest.raises(TransientError, match="has not removed"):
        place.backend().cancel(handles)
    asked = {each.path: each.at for each in place.service.requests if each.method == "DELETE" and "/jobs/" in each.path}
    assert len(asked) == 3
    assert max(asked.values()) - min(asked.values()) < 5, "one after the other they would be 10 s apart"
    place.service.remove_at_once()
    found = place.backend().cancel(handles)
    assert {each.state for each in found.values()} == {JobState.CANCELLED}


def test_a_removal_that_is_refused_stops_no_other(place: Place) -> None:
    handles = [place.submit(place.one())[0] for _ in range(3)]
    place.service.fault("DELETE", "/jobs/*", status=403)
    with pytest.raises(TransientError, match="no permission"):
        place.backend().cancel(handles)
    wait_closely(lambda: len(place.service.jobs) == 1)
    place.backend().cancel(handles)
    assert place.service.jobs == []


def test_nothing_is_left_of_a_job_that_is_refused_in_part(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "canary-4711")
    good, bad = place.step("a.0", "", EnvVar("TOKEN", "host", "CANARY")), place.step("b.1")
    bad = replace(bad, container=replace(bad.container, image=""))
    assert "image is required" in str(place.refused(place.job(good, bad, max_parallel=2)))
    assert posts(place.service) == 2
    wait_closely(lambda: place.service.jobs == [])
    assert place.service.secrets == {}


def test_the_secrets_of_a_job_that_is_refused_at_once_go_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "canary-4711")
    place.service.fault("POST", "/jobs", status=403)
    place.refused(place.one(EnvVar("TOKEN", "host", "CANARY")))
    assert place.service.secrets == {}


def test_an_endpoint_without_our_mark_is_left_alone(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(monkeypatch, service)
    service.script("proctor-*-[0-9]", RUNS)
    place = Place(tmp_path, service)
    (handle,) = place.submit(place.one())
    client(service).deployment.create(endpoint(endpoint_name(handle)))
    place.backend().cancel([handle])
    assert [each["metadata"]["name"] for each in service.endpoints] == [endpoint_name(handle)]


@pytest.mark.slow
def test_a_server_that_goes_because_it_is_meant_to_is_not_taken_for_dead(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "GONE_SECONDS", 0.5)
    (handle,) = place.submit(place.job(asks(place.step("a.0")), place.step("b.1"), server=place.scripted()))
    place.until(handle, lambda status: status.state is JobState.RUNNING)
    place.service.world.deletion = 3600
    for workload in place.service.workloads():
        workload.settle = 3600
    with pytest.raises(TransientError, match="has not removed"):
        place.backend().cancel([handle])
    place.service.remove_at_once()
    wait_closely(lambda: not place.service.endpoints)
    status = place.status(handle)
    assert {each.state for each in status.steps.values()} == {JobState.CANCELLED}
    assert status.server and status.server.state is JobState.CANCELLED
