"""Faults around the end of a job: its log, its events, its results. None blinds us to the others or blocks their end."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proctor.blocks.errors import RejectedError, TransientError
from proctor.blocks.job import JobHandle, JobState, StepStatus
from proctor.blocks.job_files import step_files
from proctor.blocks.lepton import connection, logs, overseer, workspace
from proctor.blocks.lepton.shares import job_name
from proctor.blocks.stage_files import lost
from tests.lepton.archives import lines, packed
from tests.lepton.login import log_in
from tests.lepton.place import ENDS, FAILS, QUEUES, RUNS, Place, posts
from tests.lepton.service import Service
from tests.waiting import wait_closely


@pytest.fixture
def place(legacy: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    log_in(monkeypatch, legacy)
    monkeypatch.setattr(connection, "TRIES", 0)
    legacy.script("proctor-*-[0-9]", RUNS)
    yield Place(tmp_path, legacy, results={"via": "log"})


def two(place: Place) -> JobHandle:
    """Two benchmarks that run, of which the first then ends without a word."""
    (handle,) = place.submit(place.job(place.step("a.0"), place.step("b.1"), max_parallel=2))
    place.service.script("*-0", FAILS)
    return handle


def steps(place: Place, handle: JobHandle) -> tuple[StepStatus, StepStatus]:
    found = place.status(handle).steps
    return found["a.0"], found["b.1"]


class TestALogThatCannotBeRead:
    """It is no reason to lose sight of the rest, or to leave anything behind."""

    def test_one_that_is_refused_ends_its_step_alone(self, place: Place) -> None:
        handle = two(place)
        place.service.fault("GET", "/logs", status=403, times=None)
        assert steps(place, handle)[1].state is JobState.RUNNING
        place.age(handle, 31)
        first, second = steps(place, handle)
        assert lost(first) and second.state is JobState.RUNNING

    @pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {"body": {"data": 3}}, {"drop": True}])
    def test_one_that_cannot_be_had_now_says_nothing(self, place: Place, fault: dict[str, Any]) -> None:
        handle = two(place)
        place.service.fault("GET", "/logs", times=None, **fault)
        place.age(handle, 300)
        first, second = steps(place, handle)
        assert (first.state, second.state) == (JobState.UNKNOWN, JobState.RUNNING), "so that patience counts"
        assert "the log of" in first.message
        place.service.faults.clear()
        place.age(handle, 31)
        assert lost(steps(place, handle)[0])

    @pytest.mark.parametrize("status", [403, 404, 429, 503])
    def test_it_does_not_keep_anything_from_being_cancelled(self, place: Place, status: int) -> None:
        handle = two(place)
        place.service.fault("GET", "/logs", status=status, times=None)
        found = place.backend().cancel([handle])[handle]
        assert {each.state for each in found.steps.values()} == {JobState.CANCELLED}
        assert (place.service.jobs, place.service.secrets) == ([], {})

    def test_one_that_wants_to_be_left_alone_is_and_jobs_are_seen_all_the_same(self, place: Place) -> None:
        handle = two(place)
        place.service.fault("GET", "/logs", status=429, times=None, headers={"Retry-After": "60"})
        assert "the log of" in steps(place, handle)[0].message
        first, second = steps(place, handle)
        assert (first.state, second.state) == (JobState.UNKNOWN, JobState.RUNNING)
        assert "left alone for another" in first.message
        assert [each.path for each in place.service.requests].count("/logs") == 1

    def test_one_that_never_answers_is_not_waited_for(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(workspace, "LOG_TIMEOUT", 0.3)
        handle = two(place)
        place.service.fault("GET", "/logs", times=None, delay=5)
        started = time.monotonic()
        assert "does not answer" in steps(place, handle)[0].message
        assert time.monotonic() - started < 4

    def test_an_empty_one_is_no_error(self, place: Place) -> None:
        handle = two(place)
        place.service.fault("GET", "/logs", times=None, body={"status": "success", "data": {"result": None}})
        assert "last word is awaited" in steps(place, handle)[0].message


@pytest.mark.parametrize("status", [403, 429, 503])
def test_events_that_cannot_be_had_say_nothing(place: Place, status: int) -> None:
    place.service.script("*", QUEUES)
    (handle,) = place.submit(place.one())
    place.service.fault("GET", "/jobs/*/events", status=status, times=None)
    place.age(handle, 100)
    assert place.status(handle).state is JobState.PENDING


class TestResults:
    """They count when they are whole, and not before."""

    def ended(self, place: Place, text: list[str], handle: JobHandle) -> StepStatus:
        """How the first step is judged when that is what its log holds and it completed."""
        place.service.script("*-0", ENDS)
        place.service.write_log(job_name(handle, 0), "".join(f"{line}\n" for line in text))
        assert place.status(handle).steps["a.0"].state is JobState.RUNNING
        place.age(handle, 31)
        return place.status(handle).steps["a.0"]

    def submitted(self, place: Place) -> JobHandle:
        (handle,) = place.submit(place.one())
        return handle

    def test_a_file_that_is_not_what_it_was(self, place: Place) -> None:
        handle = self.submitted(place)
        bad = packed(handle, 0, **{"results.yml": "0" * 64})
        found = self.ended(place, lines(bad, job_name(handle, 0)), handle)
        assert (found.state, found.exit_code) == (JobState.FAILED, 65)
        assert "results.yml is missing or damaged" in found.message
        assert not (step_files(handle, "a.0").folder / "results.yml").exists()

    def test_a_file_that_is_not_there(self, place: Place) -> None:
        handle = self.submitted(place)
        bad = packed(handle, 0, **{"response_stats.json": "0" * 64})
        assert "response_stats.json is missing" in self.ended(place, lines(bad, job_name(handle, 0)), handle).message

    def test_a_line_that_is_cut(self, place: Place) -> None:
        handle = self.submitted(place)
        *parts, last = lines(packed(handle), job_name(handle, 0))
        found = self.ended(place, [*parts[:-1], parts[-1][:-1], last], handle)
        assert (found.state, found.exit_code) == (JobState.FAILED, 65)
        assert "a line of them is cut" in found.message

    def test_a_job_that_failed_ends_by_its_own_word_and_its_last_lines_are_here(self, place: Place) -> None:
        handle = self.submitted(place)
        place.service.script("*-0", FAILS)
        place.service.add_event(job_name(handle, 0), "OOMKilled")
        printed = lines(packed(handle, 3), job_name(handle, 0))
        place.service.write_log(job_name(handle, 0), "".join(f"{line}\n" for line in printed))
        found = place.status(handle).steps["a.0"]
        assert (found.state, found.exit_code, lost(found)) == (JobState.FAILED, 3, False)
        place.service.vanish(job_name(handle, 0))
        assert list(place.backend().logs(handle, "a.0", follow=False, tail=5)) == ["hello"]

    def test_what_has_ended_comes_home_before_it_is_deleted(self, place: Place) -> None:
        handle = self.submitted(place)
        place.service.script("*-0", ENDS)
        printed = lines(packed(handle), job_name(handle, 0))
        place.service.write_log(job_name(handle, 0), "".join(f"{line}\n" for line in printed))
        assert place.backend().cancel([handle])[handle].state is JobState.COMPLETED
        assert (step_files(handle, "a.0").folder / "results.yml").read_text() == "results: {}\n"
        assert place.service.jobs == []

    def test_a_move_that_breaks_off_leaves_no_last_word_and_is_done_again(self, place: Place) -> None:
        handle = self.submitted(place)
        folder = step_files(handle, "a.0").folder
        (folder / "results.yml").mkdir()
        place.service.script("*-0", ENDS)
        printed = lines(packed(handle), job_name(handle, 0))
        place.service.write_log(job_name(handle, 0), "".join(f"{line}\n" for line in printed))
        assert place.status(handle).steps["a.0"].state is JobState.RUNNING
        assert not (folder / "stage.exit").exists()
        (folder / "results.yml").rmdir()
        assert place.status(handle).steps["a.0"].state is JobState.COMPLETED
        assert (folder / "results.yml").read_text() == "results: {}\n"
        assert [path.name for path in folder.parent.glob(".proctor/*.[0-9]*") if path.is_dir()] == []


def test_a_document_that_the_sdk_cannot_make_is_refused_and_not_tried_again(place: Place) -> None:
    cloud = place.backend().workspace
    with pytest.raises(RejectedError, match="mounts"):
        cloud.create_job({"metadata": {"name": "proctor-x-0"}, "spec": {"mounts": [{"mount_path": "/data"}]}})
    with pytest.raises(RejectedError, match="envs"):
        cloud.create_endpoint({"metadata": {"name": "proctor-x-s"}, "spec": {"envs": [{"value": "canary"}]}})
    assert posts(place.service) == 0


class TestOneJob:
    """What stands twice becomes one."""

    @pytest.mark.slow
    def test_a_request_that_is_slow_is_not_sent_again(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(overseer, "SETTLE", 7.0)
        place.backend().workspace.ask("nothing", lambda client: setattr(client, "_timeout", 8))
        place.service.fault("POST", "/jobs", delay=9)
        job = place.one()
        with pytest.raises(TransientError):
            place.backend().submit([job])
        (handle,) = place.submit(job)
        place.until(handle, lambda status: status.state is JobState.RUNNING)
        assert (posts(place.service), len(place.jobs(handle))) == (1, 1)

    def test_a_double_is_removed_and_the_one_that_runs_stays(self, place: Place) -> None:
        place.service.script("*", QUEUES)
        (handle,) = place.submit(place.one())
        first = place.service.jobs[0]["metadata"]["id"]
        body = next(each.body for each in place.service.requests if each.method == "POST" and each.path == "/jobs")
        place.service.script("*", RUNS)
        place.backend().workspace.ask("a double", lambda client: client._post("/jobs", json=body))
        place.service.workload(first).driver.steps = QUEUES  # type: ignore[attr-defined]
        assert place.status(handle).state is JobState.RUNNING
        wait_closely(lambda: len(place.jobs(handle)) == 1)
        assert place.service.jobs[0]["metadata"]["id"] != first
        assert place.status(handle).state is JobState.RUNNING


def test_a_job_that_lost_its_node_has_its_whole_time_again(place: Place) -> None:
    (handle,) = place.submit(place.job(place.step("a.0", timeout=60)))
    assert place.status(handle).state is JobState.RUNNING
    place.service.script("*", QUEUES)
    assert place.says(handle).startswith("Lepton took it off its node and runs it again: it waits in Lepton's queue")
    (told,) = place.backend().logs(handle, "a.0", follow=False, tail=5)
    assert told.startswith("proctor: Lepton took it off its node and runs it again (20")
    place.age(handle, 361)
    place.service.script("*", RUNS)
    assert place.status(handle).state is JobState.RUNNING
    place.age(handle, 361)
    assert place.status(handle).steps["a.0"].exit_code == 124


@pytest.mark.slow
def test_who_follows_a_log_asks_lepton_seldom(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted = Place(place.folder.parent, place.service)
    monkeypatch.setattr(logs, "LOCAL_PAUSE", 600.0)
    (handle,) = mounted.submit(mounted.one())
    log = step_files(handle, "a.0").log
    log.write_text("one\n")
    found = mounted.backend().logs(handle, "a.0", follow=True, tail=10)
    assert next(found) == "one"
    before = len(place.service.requests)
    for number in range(10):
        with log.open("a") as file:
            file.write(f"line {number}\n")
        assert next(found) == f"line {number}"
    assert len(place.service.requests) - before <= 1
    mounted.finish(handle)
    assert list(found) == []
    assert len(place.service.requests) - before <= 1
