"""Whatever goes wrong between us and Lepton: nothing is doubled, lost or called failed, and a person is told what to do."""

import pickle
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from proctor.blocks.errors import RejectedError, TransientError
from proctor.blocks.job import EnvVar, JobHandle, JobState
from proctor.blocks.lepton import connection, removal, workspace
from proctor.blocks.lepton.render import secret_of
from proctor.blocks.stage_files import lost
from tests.lepton.login import log_in
from tests.lepton.place import FAILS, QUEUES, RUNS, Place, asks, posts
from tests.lepton.script import Script
from tests.lepton.service import Service
from tests.waiting import wait_closely


@pytest.fixture
def place(legacy: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    log_in(monkeypatch, legacy)
    legacy.script("proctor-*-[0-9]", RUNS)
    yield Place(tmp_path, legacy)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No patience: a fault that lasts is met at once."""
    monkeypatch.setattr(connection, "TRIES", 1)


def submit_until(place: Place, job: Any, seconds: float = 30) -> JobHandle:
    """Submit as the flow does: again after every TransientError."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            (handle,) = place.submit(job)
        except TransientError:
            assert time.monotonic() < deadline
        else:
            return handle


class TestCreation:
    """`POST /jobs` has no key that makes it safe to repeat."""

    @pytest.mark.parametrize("fault", [{"drop": True}, {"status": 502}, {"body": b"<html>"}, {"body": {"status": 3}}])
    def test_a_lost_reply_is_resolved_by_looking(self, place: Place, fault: dict[str, Any]) -> None:
        place.service.fault("POST", "/jobs", after=True, **fault)
        handle = submit_until(place, place.one())
        place.until(handle, lambda status: status.state is JobState.RUNNING)
        place.age(handle, 25)
        assert place.status(handle).state is JobState.RUNNING
        assert place.jobs(handle) == [f"{handle.name}-0"]
        assert posts(place.service) == 1

    def test_a_submission_that_comes_again_much_later_looks_first(self, place: Place) -> None:
        place.service.fault("POST", "/jobs", drop=True, after=True)
        handle = submit_until(place, job := place.one())
        place.age(handle, 25)
        place.submit(job)
        assert (posts(place.service), place.jobs(handle)) == (1, [f"{handle.name}-0"])

    @pytest.mark.slow
    def test_a_job_that_is_listed_late_is_not_asked_for_again(self, place: Place) -> None:
        place.service.world.list_lag = 3600
        place.service.fault("POST", "/jobs", drop=True, after=True)
        handle = submit_until(place, place.one())
        assert place.status(handle).state is JobState.PENDING
        place.service.world.list_lag = 0
        place.until(handle, lambda status: status.state is JobState.RUNNING)
        assert posts(place.service) == 1

    def test_a_request_that_never_arrived_is_sent_again_when_that_is_certain(self, place: Place) -> None:
        place.service.fault("POST", "/jobs", drop=True)
        handle = submit_until(place, place.one())
        assert place.jobs(handle) == []
        assert place.status(handle).state is JobState.PENDING
        place.age(handle, 25)
        place.until(handle, lambda status: status.state is JobState.RUNNING)
        assert place.jobs(handle) == [f"{handle.name}-0"]

    @pytest.mark.parametrize("status", [429, 500, 502, 503])
    def test_a_busy_service_is_asked_for_a_job_once_at_a_time(self, place: Place, status: int) -> None:
        place.service.fault("POST", "/jobs", status=status, headers={"Retry-After": "0"})
        handle = submit_until(place, place.one())
        assert posts(place.service) == 1
        place.age(handle, 25)
        place.until(handle, lambda status: status.state is JobState.RUNNING)
        assert (posts(place.service), place.jobs(handle)) == (2, [f"{handle.name}-0"])

    def test_a_service_that_wants_to_be_left_alone_is_not_asked_for_a_job(self, place: Place) -> None:
        place.service.fault("POST", "/jobs", status=429, headers={"Retry-After": "60"})
        job = place.one()
        for words in ("left alone for 60 s", "left alone for another"):
            with pytest.raises(TransientError, match=words):
                place.backend().submit([job])
        assert (posts(place.service), place.service.jobs) == (1, [])

    def test_two_jobs_of_one_name_are_both_removed(self, place: Place) -> None:
        handle = submit_until(place, job := place.one())
        body = next(each.body for each in place.service.requests if each.method == "POST" and each.path == "/jobs")
        place.backend().workspace.ask("a double", lambda client: client._post("/jobs", json=body))
        assert len(place.jobs(job)) == 2
        place.backend().cancel([handle])
        assert place.jobs(job) == []


class TestLooking:
    """A look that fails changes nothing."""

    @pytest.mark.parametrize("headers", [{}, {"Retry-After": "0"}])
    @pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
    def test_a_passing_fault_is_not_seen(self, place: Place, status: int, headers: dict[str, str]) -> None:
        handle = submit_until(place, place.one())
        place.service.fault("GET", "/jobs", status=status, times=2, headers=headers)
        assert place.status(handle).state is JobState.RUNNING

    def test_a_connection_that_breaks_once_is_not_seen(self, place: Place) -> None:
        handle = submit_until(place, place.one())
        place.service.fault("GET", "/jobs", drop=True)
        assert place.status(handle).state is JobState.RUNNING

    @pytest.mark.slow
    def test_a_service_that_asks_for_patience_gets_it(self, place: Place) -> None:
        handle = submit_until(place, place.one())
        place.service.fault("GET", "/jobs", status=429, headers={"Retry-After": "2"})
        started = time.monotonic()
        assert place.status(handle).state is JobState.RUNNING
        assert time.monotonic() - started >= 2

    def test_a_service_that_wants_to_be_left_alone_for_long_is(self, place: Place) -> None:
        handle = submit_until(place, place.one())
        place.service.fault("GET", "/jobs", status=429, times=None, headers={"Retry-After": "3600"})
        started = time.monotonic()
        with pytest.raises(TransientError, match="left alone for 3600 s"):
            place.status(handle)
        assert time.monotonic() - started < 3, "nobody who waits for the same job is kept waiting"
        asked = len(place.service.requests)
        with pytest.raises(TransientError, match=r"left alone for another (600|599) s"):
            place.status(handle)
        assert len(place.service.requests) == asked

    @pytest.mark.parametrize(
        ("fault", "words"),
        [
            ({"status": 503}, r"has a problem of its own \(HTTP 503\)"),
            ({"drop": True}, "does not answer"),
            ({"body": b"<html>"}, "answered something that the SDK cannot read"),
            ({"body": {"error": "maintenance"}}, "answered something that the SDK cannot read"),
        ],
    )
    def test_a_lasting_fault_is_unseen_and_never_failed(
        self, place: Place, quick: None, fault: dict[str, Any], words: str
    ) -> None:
        handle = submit_until(place, place.one())
        place.service.fault("GET", "/jobs", times=None, **fault)
        with pytest.raises(TransientError, match=f"the list of jobs: Lepton {words}"):
            place.status(handle)
        place.service.faults.clear()
        assert place.status(handle).state is JobState.RUNNING

    def test_a_job_that_the_sdk_cannot_read_is_not_gone(self, place: Place) -> None:
        handle = submit_until(place, place.one())
        place.age(handle, 100)
        place.service.fault("GET", "/jobs", times=1, body={"jobs": [{"metadata": 3}]})
        assert place.status(handle).state is JobState.UNKNOWN
        assert place.status(handle).state is JobState.RUNNING

    def test_a_service_that_does_not_answer_in_time_is_unseen(
        self, place: Place, quick: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handle = submit_until(place, place.one())
        connection.MADE.clear()
        monkeypatch.setattr(connection, "TIMEOUT", 0.3)
        place.service.fault("GET", "/jobs", times=None, delay=3)
        with pytest.raises(TransientError, match="does not answer"):
            place.status(handle)

    def test_a_date_until_which_it_wants_to_be_left_alone_is_kept_too(self, place: Place, quick: None) -> None:
        handle = submit_until(place, place.one())
        until = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
        place.service.fault("GET", "/jobs", status=503, times=None, headers={"Retry-After": until})
        with pytest.raises(TransientError, match=r"left alone for (90|8\d) s"):
            place.status(handle)

    def test_an_expired_token_is_said_and_a_fresh_one_goes_on(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handle = submit_until(place, place.one())
        place.service.token = "fresh-4711"
        with pytest.raises(TransientError, match="refuses the token") as refused:
            place.status(handle)
        assert "proctor resume" in str(refused.value)
        log_in(monkeypatch, place.service)
        assert place.status(handle).state is JobState.RUNNING
        assert posts(place.service) == 1

    def test_no_error_holds_the_token(self, place: Place, quick: None) -> None:
        handle = submit_until(place, place.one())
        token = place.service.token
        for fault in ({"status": 401}, {"status": 403}, {"status": 503}, {"drop": True}, {"body": b"<html>"}):
            place.service.fault("GET", "/jobs", times=None, **fault)
            with pytest.raises(TransientError) as raised:
                place.status(handle)
            assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
            assert token not in f"{raised.value!r} {raised.value.__cause__!r} {raised.value.__context__!r}"
            place.service.faults.clear()

    def test_a_page_with_a_job_that_cannot_be_read_is_not_the_last(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handle = submit_until(place, place.one())
        monkeypatch.setattr(workspace, "PAGE", 2)
        others = [{"metadata": 3}, {"metadata": {"name": "another"}}]
        place.service.fault("GET", "/jobs", body={"jobs": others})
        seen = place.service.jobs
        place.service.fault("GET", "/jobs", body={"jobs": seen})
        assert place.status(handle).state is JobState.RUNNING

    def test_one_listing_for_all_jobs(self, place: Place) -> None:
        handles = [submit_until(place, place.one()) for _ in range(5)]
        before = len(place.service.requests)
        found = place.backend().poll(handles)
        assert {each.state for each in found.values()} == {JobState.RUNNING}
        assert [each.path for each in place.service.requests[before:]] == ["/jobs"]


class TestRefusals:
    """What a person can mend is said with the choices there are, and nothing was started."""

    @pytest.mark.parametrize(
        ("section", "words"),
        [
            ({"resource_shape": "cpu.smal"}, "did you mean 'cpu.small'?"),
            ({"resource_shape": "tpu"}, "choose from cpu.batch, cpu.large, cpu.small"),
            ({"node_group": "h200-pol"}, "did you mean 'h200-pool'?"),
            ({"reservation": "none"}, "reservation"),
            ({"results": {"via": "mount", "volume": "node-nfs:other"}}, "volume node-nfs:other not found"),
            ({"results": {"via": "mount"}}, "execution.results.volume is missing"),
            ({"results": {"via": "object"}}, "execution.results.url is missing"),
            ({"results": {"via": "object", "url": "ftp://h/x"}}, "cannot sign an upload"),
        ],
    )
    def test_a_wrong_section(self, place: Place, tmp_path: Path, section: dict[str, Any], words: str) -> None:
        other = Place(tmp_path, place.service, **section)
        assert words in str(other.refused(other.one()))
        assert (place.service.jobs, place.service.secrets) == ([], {})

    @pytest.mark.parametrize(
        ("mount_path", "env", "words"),
        [
            ("/opt", "KEY", "Mount path '/opt' is reserved by Lepton"),
            ("/m", "LEPTON_RESOURCE_ACCELERATOR_TYPE", "reserved environment variable name"),
        ],
    )
    def test_what_only_the_sdk_knows_to_be_wrong(
        self, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mount_path: str, env: str, words: str
    ) -> None:
        monkeypatch.setenv("KEY", "a value")
        other = Place(tmp_path, place.service, mounts=[{"from": "node-nfs:shared", "mount_path": mount_path}])
        problem = other.refused(other.one(EnvVar(env, "host", "KEY")))
        assert isinstance(problem, RejectedError) and words in str(problem) and "a value" not in str(problem)
        assert (place.service.jobs, place.service.secrets) == ([], {})

    def test_secrets_that_another_process_has_made_meanwhile(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KEY", "a value")
        job = place.one(first := EnvVar("KEY", "host", "KEY"), second := EnvVar("OTHER", "host", "KEY"))
        place.service.secrets[secret_of(job, first)] = "a value"
        place.service.fault("GET", "/usersecrets", times=2, body=[])
        submit_until(place, job)
        assert set(place.service.secrets) == {secret_of(job, first), secret_of(job, second)}

    def test_a_secret_that_is_not_there(self, place: Place) -> None:
        place.service.secrets["HF_TOKN"] = "x"
        problem = place.refused(place.one(EnvVar("HF_TOKEN", "runtime", "HF_TOKEN")))
        assert "no secret 'HF_TOKEN'; did you mean 'HF_TOKN'?" in str(problem)

    def test_a_variable_that_is_not_set(self, place: Place) -> None:
        assert "env_vars.KEY names is not set" in str(place.refused(place.one(EnvVar("KEY", "host", "NOWHERE_SET"))))

    def test_a_bad_token_before_anything_is_known(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LEPTON_API_TOKEN", "wrong")
        assert "refuses the token (401)" in str(place.refused(place.one()))

    def test_no_permission(self, place: Place) -> None:
        place.service.fault("POST", "/jobs", status=403, body={"code": "Forbidden", "message": "not yours"})
        problem = place.refused(place.one())
        assert isinstance(problem, RejectedError)
        assert "no permission" in str(problem) and "not yours" in str(problem)

    def test_an_image_that_cannot_be_pulled(self, place: Place, tmp_path: Path) -> None:
        other = Place(tmp_path, place.service, image_pull_secrets=["nobody"])
        place.service.world.scripts.clear()
        handle = submit_until(other, other.one())
        wait_closely(lambda: place.service.jobs[0]["status"]["state"] == "Starting")
        other.age(handle, 61)
        found = other.status(handle).steps["a.0"]
        assert found.state is JobState.FAILED
        assert "execution.image_pull_secrets (ImagePullBackOff)" in found.message
        wait_closely(lambda: place.service.live() == [])


class TestEnds:
    """How a job ends, and what we say."""

    def test_queueing_is_said_with_its_reason_and_given_up_after_its_time(self, place: Place, tmp_path: Path) -> None:
        place.service.script("*", QUEUES)
        other = Place(tmp_path, place.service, queue_timeout=300)
        handle = submit_until(other, other.one())
        assert other.says(handle) == "waits in Lepton's queue for capacity or quota"
        place.service.add_event(f"{handle.name}-0", "FailedScheduling")
        other.age(handle, 61)
        other.status(handle)
        assert other.says(handle) == "waits in Lepton's queue for capacity or quota (FailedScheduling)"
        other.age(handle, 300)
        found = other.status(handle).steps["a.0"]
        assert (found.state, found.exit_code) == (JobState.FAILED, 75)
        assert "no capacity" in found.message
        wait_closely(lambda: place.service.live() == [])

    @pytest.mark.slow
    def test_waiting_jobs_are_asked_about_seldom(self, place: Place) -> None:
        place.service.script("*", QUEUES)
        (handle,) = place.submit(place.job(*(place.step(f"s.{index}") for index in range(50)), max_parallel=50))
        place.age(handle, 61)
        before = len(place.service.requests)
        place.status(handle)
        assert len(place.service.requests) - before == 1
        place.age(handle, 600)
        place.status(handle)
        place.status(handle)
        assert len(place.service.requests) - before == 1 + 51 + 1

    def test_a_job_that_was_stopped_by_hand_is_cancelled(self, place: Place) -> None:
        handle = submit_until(place, place.one())
        key = place.service.jobs[0]["metadata"]["id"]
        place.backend().workspace.ask("a stop", lambda client: client.job.update(key, {"spec": {"stopped": True}}))
        wait_closely(lambda: place.service.jobs[0]["status"]["state"] == "Stopped")
        found = place.wait(handle).steps["a.0"]
        assert found.state is JobState.CANCELLED
        assert found.message == "cancelled: it was stopped on Lepton by somebody else"

    def test_a_job_that_was_removed_by_hand_has_an_end(self, place: Place) -> None:
        handle = submit_until(place, place.one())
        place.service.vanish(f"{handle.name}-0")
        place.age(handle, 25)
        found = place.wait(handle).steps["a.0"]
        assert (found.state, found.exit_code) == (JobState.FAILED, 70)
        assert "vanished from Lepton" in found.message

    @pytest.mark.parametrize(
        ("reason", "again", "words"),
        [
            ("OOMKilled", False, "out of memory; choose a larger execution.resource_shape (OOMKilled)"),
            ("Preempted", True, "it lost its node (Preempted)"),
            ("Strange", True, "its job ended on Lepton without a word of its own"),
        ],
    )
    def test_a_job_without_a_last_word_is_judged_by_its_events(
        self, place: Place, reason: str, again: bool, words: str
    ) -> None:
        handle = submit_until(place, place.one())
        place.service.add_event(f"{handle.name}-0", reason)
        place.service.script("*", FAILS)
        assert place.status(handle).state is JobState.RUNNING, "its last word may be on its way"
        place.age(handle, 31)
        found = place.status(handle).steps["a.0"]
        assert (found.state, lost(found)) == (JobState.FAILED, again)
        assert words in found.message

    @pytest.mark.parametrize(("days", "state"), [(2, "Completed"), (4, "Archived")])
    def test_an_ended_job_is_remembered_longer_than_an_outage(self, place: Place, days: int, state: str) -> None:
        place.service.script("*", [("Completed", None)])
        handle = submit_until(place, place.one())
        driver = place.service.workload(f"{handle.name}-0").driver
        assert isinstance(driver, Script)
        driver.began -= days * 86400
        assert place.service.jobs[0]["status"]["state"] == state

    @pytest.mark.parametrize("outcome", ["Completed", "Failed", "Running"])
    def test_an_archived_job_ends_by_its_evidence(self, place: Place, outcome: str) -> None:
        handle = submit_until(place, place.one())
        place.service.script("*", [(outcome, None)])
        if outcome == "Completed":
            place.finish(handle)
        place.service.archive(f"{handle.name}-0")
        place.status(handle)
        place.age(handle, 31)
        found = place.status(handle).steps["a.0"]
        assert found.state is (JobState.COMPLETED if outcome == "Completed" else JobState.FAILED)
        assert lost(found) is (outcome != "Completed")

    def test_a_job_that_restarts_or_moves_has_not_failed(self, place: Place) -> None:
        handle = submit_until(place, place.one())
        for state in ("Restarting", "PendingRetry", "Queueing"):
            place.service.script("*", [(state, None)])
            assert place.status(handle).state is JobState.PENDING
        place.service.script("*", RUNS)
        assert place.status(handle).state is JobState.RUNNING

    def test_a_state_that_nobody_knows_is_unknown(self, place: Place) -> None:
        handle = submit_until(place, place.one())
        place.service.script("*", [("Weird", None)])
        found = place.status(handle)
        assert (found.state, found.steps["a.0"].message) == (JobState.UNKNOWN, "Lepton says UNK")

    def test_a_benchmark_whose_own_clock_failed_is_ended_from_outside(self, place: Place) -> None:
        (handle,) = place.submit(place.job(place.step("a.0", timeout=60)))
        assert place.status(handle).state is JobState.RUNNING
        place.age(handle, 361)
        found = place.status(handle).steps["a.0"]
        assert (found.state, found.exit_code) == (JobState.FAILED, 124)
        wait_closely(lambda: place.service.live() == [])


class TestCancelling:
    """Nothing of ours is left, however often the service stumbles."""

    @pytest.mark.parametrize("status", [429, 500, 503])
    @pytest.mark.slow
    def test_a_stumbling_service(self, place: Place, status: int) -> None:
        job = place.job(asks(place.step("a.0")), server=place.scripted())
        handle = submit_until(place, job)
        place.until(handle, lambda found: found.state is JobState.RUNNING)
        place.service.fault("DELETE", "*", status=status, times=3, headers={"Retry-After": "0"})
        started = time.monotonic()
        place.backend().cancel([handle])
        assert time.monotonic() - started < 30
        assert (place.service.jobs, place.service.endpoints, place.service.secrets) == ([], [], {})

    @pytest.mark.slow
    def test_a_service_that_asks_for_patience_gets_it(self, place: Place) -> None:
        handle = submit_until(place, place.one())
        place.service.fault("DELETE", "/jobs*", status=429, headers={"Retry-After": "2"})
        started = time.monotonic()
        assert place.backend().cancel([handle])[handle].state is JobState.CANCELLED
        assert time.monotonic() - started >= 2
        assert place.service.jobs == []

    @pytest.mark.slow
    def test_a_removal_that_takes_its_time_is_not_called_done(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(removal, "GONE_SECONDS", 1.0)
        place.service.world.deletion = 3600
        handle = submit_until(place, place.one())
        with pytest.raises(TransientError, match="has not removed"):
            place.backend().cancel([handle])
        place.service.remove_at_once()
        wait_closely(lambda: not place.service.jobs)
        assert place.backend().cancel([handle])[handle].state is JobState.CANCELLED

    def test_what_was_deleted_by_somebody_else_is_deleted(self, place: Place) -> None:
        handle = submit_until(place, place.one())
        place.service.vanish(f"{handle.name}-0")
        assert place.backend().cancel([handle])[handle].state is JobState.CANCELLED
