"""What is concluded from the words of a container engine."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proctor.blocks.docker import parse
from proctor.blocks.job import JobState, StepStatus
from proctor.blocks.stage_files import Stage, lost

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def entry(state: str, status: str = "") -> Mapping[str, Any]:
    return {"Id": "1", "State": state, "Status": status, "Labels": {"proctor.step": "a.0"}}


@pytest.mark.parametrize(
    ("container", "what", "code"),
    [
        (None, "gone", None),
        (entry("created", "Created"), "alive", None),
        (entry("running", "Up 3 seconds"), "alive", None),
        (entry("paused", "Up 3 seconds (Paused)"), "alive", None),
        (entry("exited", "Exited (0) 3 seconds ago"), "ended", 0),
        (entry("exited", "Exited (137) About an hour ago"), "ended", 137),
        (entry("dead", "Dead"), "ended", None),
    ],
)
def test_the_witness_of_a_step(container: Mapping[str, Any] | None, what: str, code: int | None) -> None:
    found = parse.seen(container)
    assert (found.what, found.exit_code) == (what, code)


@pytest.mark.parametrize(
    ("killed", "limit", "words"),
    [
        (True, 64 * 2**30, "out of memory (limit 64g)"),
        (True, 100 * 2**20, "out of memory (limit 100m)"),
        (True, 0, "out of memory"),
        (False, 64 * 2**30, ""),
    ],
)
def test_running_out_of_memory_is_told_with_the_limit(killed: bool, limit: int, words: str) -> None:
    assert parse.out_of_memory({"State": {"OOMKilled": killed}, "HostConfig": {"Memory": limit}}) == words


def test_when_a_container_ended() -> None:
    assert parse.finished({"State": {"FinishedAt": "2026-01-01T12:00:00.123456789Z"}}) == NOON
    assert parse.finished({"State": {"FinishedAt": "0001-01-01T00:00:00Z"}}) is None


@pytest.mark.parametrize(
    ("container", "reason", "left", "end"),
    [
        (entry("running", "Up"), "", True, None),
        (entry("created", "Created"), "", True, None),
        (None, "", False, None),
        (None, "", True, ("lost", "the server's container vanished")),
        (entry("exited", "Exited (4) now"), "", True, ("4", "the server ended with exit code 4")),
        (entry("exited", "Exited (137) now"), "out of memory (limit 1g)", True, ("137", "out of memory (limit 1g)")),
        (entry("exited", "Exited (137) now"), "", True, ("lost", "the server was ended from outside (exit code 137)")),
        (entry("exited", "Exited (255) now"), "", True, ("lost", "the server was ended from outside (exit code 255)")),
    ],
)
def test_the_end_of_a_server(
    container: Mapping[str, Any] | None, reason: str, left: bool, end: tuple[str, str] | None
) -> None:
    assert parse.server_end(container, reason, left=left) == end


@pytest.mark.parametrize(
    ("end", "released", "there", "answered", "state"),
    [
        (None, False, False, False, JobState.UNKNOWN),
        (None, False, True, False, JobState.PENDING),
        (None, False, True, True, JobState.RUNNING),
        (None, True, True, True, JobState.CANCELLED),
        (Stage(NOON, "boom", 4), False, True, True, JobState.FAILED),
        (Stage(NOON, "boom", 4), True, False, False, JobState.FAILED),
    ],
)
def test_the_status_of_a_server(
    end: Stage | None, released: bool, there: bool, answered: bool, state: JobState
) -> None:
    status = parse.server_status(end, "last words", released=released, there=there, answered=answered)
    assert status.state is state
    assert (status.log_tail == "last words") is (state is JobState.FAILED)


def blamed(status: StepStatus, code: int | None) -> StepStatus:
    end = Stage(NOON, "the server ended", code)
    server = parse.server_status(end, "", released=False, there=True, answered=True)
    return parse.blame(status, end, server)


def test_a_step_that_its_server_took_along_says_so() -> None:
    after = StepStatus(JobState.FAILED, 1, "the harness ended with exit code 1", ended=NOON + timedelta(seconds=2))
    assert "server died" in blamed(after, 4).message
    assert not lost(blamed(after, 4))
    assert lost(blamed(after, None)), "a server that was ended from outside is no fault of the step's"


@pytest.mark.parametrize("code", [4, None])
@pytest.mark.parametrize(
    "status",
    [
        StepStatus(JobState.FAILED, 3, "its own fault", ended=NOON - timedelta(seconds=2)),
        StepStatus(JobState.CANCELLED, 143, "cancelled", ended=NOON - timedelta(seconds=2)),
        StepStatus(JobState.COMPLETED, 0, ended=NOON + timedelta(seconds=2)),
    ],
)
def test_a_step_that_ended_by_itself_stays_as_it_was(status: StepStatus, code: int | None) -> None:
    assert blamed(status, code) == status


def test_the_digest_of_the_repository_that_was_asked_for() -> None:
    found = {"Id": "sha256:1", "RepoDigests": ["mirror/evals@sha256:2", "registry/evals@sha256:3"]}
    assert parse.image_digest(found, "registry/evals:1") == "registry/evals@sha256:3"
    assert parse.image_digest(found, "elsewhere/evals:1") == "mirror/evals@sha256:2"
    assert parse.image_digest({"Id": "sha256:1", "RepoDigests": []}, "evals:1") == "sha256:1"
