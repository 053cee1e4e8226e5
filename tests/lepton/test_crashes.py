"""Our process dies after any of its requests, in any phase; who comes next finds everything and doubles nothing."""

import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from proctor.blocks.errors import TransientError
from proctor.blocks.job import JobHandle, JobSpec, JobState
from proctor.blocks.job_files import step_files
from proctor.blocks.lepton import connection
from proctor.blocks.lepton.overseer import handle_of
from proctor.blocks.lepton.render import endpoint_name
from proctor.blocks.lepton.shares import job_name
from tests.lepton.archives import lines, packed
from tests.lepton.login import log_in
from tests.lepton.place import ENDS, RUNS, Place, asks
from tests.lepton.service import Service
from tests.waiting import wait_closely

pytestmark = pytest.mark.slow


@pytest.fixture
def place(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    log_in(monkeypatch, service)
    service.script("proctor-*-[0-9]", RUNS)
    service.script("proctor-*-s", [("Ready", None)])
    yield Place(tmp_path, service)


def at_every_request(
    act: Callable[[JobSpec], object], begin: Callable[[], JobSpec], check: Callable[[JobSpec], None]
) -> int:
    """Let `act` die after its first answer, then after its second, until it gets through; after each, `check`.

    The answer is how many requests it makes.
    """
    answers = 0
    while True:
        job = begin()
        died = dies(answers + 1, lambda job=job: act(job))  # type: ignore[misc]
        check(job)
        if not died:
            return answers
        answers += 1


def dies(after: int, act: Callable[[], object]) -> bool:
    """Whether a process of its own that does this gets so many answers, at which it ends without a word."""
    pid = os.fork()
    if pid == 0:
        try:
            learn_everything_anew()
            die_after(after)
            act()
            os._exit(0)
        except BaseException:  # noqa: BLE001 (nothing of the parent's may run here)
            traceback.print_exc()
            os._exit(2)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in {0, 1}, f"it ended with {code} after {after} answers"
    return code == 1


def learn_everything_anew() -> None:
    """A process that starts knows no client and no family."""
    from leptonai.api.v2 import reset_new_deployment_api_flag_cache  # noqa: PLC0415 (two seconds)

    connection.MADE.clear()
    reset_new_deployment_api_flag_cache()


def die_after(answers: int) -> None:
    """End this process without a word as soon as it has got so many answers."""
    asked, plain = 0, requests.Session.send

    def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal asked
        answer = plain(self, *arguments, **options)
        asked += 1
        if asked == answers:
            os._exit(1)
        return answer

    requests.Session.send = counted  # type: ignore[method-assign]


def served(place: Place) -> JobSpec:
    """A job with a server."""
    return place.job(asks(place.step("a.0")), server=place.scripted())


def submitted(place: Place, job: JobSpec) -> JobHandle:
    """Submitted as the flow does it: again after a TransientError."""
    try:
        (handle,) = place.submit(job)
    except TransientError:
        (handle,) = place.submit(job)
    return handle


def running(place: Place, job: JobSpec) -> JobSpec:
    place.until(submitted(place, job), lambda status: status.state is JobState.RUNNING)
    return job


def one_of_each(place: Place, job: JobSpec) -> None:
    """After a submission that goes on there is one job and one endpoint, and after its end nothing."""
    running(place, job)
    assert [each["metadata"]["name"] for each in place.service.endpoints] == [endpoint_name(job)]
    assert place.jobs(job) == [job_name(job, 0)]
    gone(place, job)


def gone(place: Place, job: JobSpec) -> None:
    """After a cancellation that goes on nothing is left."""
    assert place.backend().cancel([handle_of(job)])[handle_of(job)].state is JobState.CANCELLED
    wait_closely(lambda: place.service.jobs == place.service.endpoints == [])
    assert place.service.secrets == {}


def test_submitting(place: Place) -> None:
    count = at_every_request(
        lambda job: place.backend().submit([job]), lambda: served(place), lambda job: one_of_each(place, job)
    )
    asked = [each for each in place.service.requests if each.method == "POST"]
    assert count >= 6, "the secret and the endpoint are among them"
    assert {each.path for each in asked} >= {"/usersecrets", "/jobs"}


def test_submitting_where_lists_lag_behind(legacy: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That a job is asked for stands in the ledger before it is, so who comes next waits until it may be listed."""
    log_in(monkeypatch, legacy)
    legacy.script("proctor-*-[0-9]", RUNS)
    legacy.world.list_lag = 2
    place = Place(tmp_path, legacy)

    def check(job: JobSpec) -> None:
        running(place, job)
        assert place.jobs(job) == [job_name(job, 0)]
        asked = [each.body["metadata"]["name"] for each in legacy.requests if each.method == "POST"]
        assert asked.count(job_name(job, 0)) == 1

    assert at_every_request(lambda job: place.backend().submit([job]), place.one, check) >= 3


def test_polling(place: Place) -> None:
    def begin() -> JobSpec:
        submitted(place, job := served(place))
        return job

    count = at_every_request(
        lambda job: place.until(handle_of(job), lambda status: status.state is JobState.RUNNING),
        begin,
        lambda job: one_of_each(place, job),
    )
    assert count >= 3, "the first benchmark's creation is among them"


def test_cancelling(place: Place) -> None:
    count = at_every_request(
        lambda job: place.backend().cancel([handle_of(job)]),
        lambda: running(place, served(place)),
        lambda job: gone(place, job),
    )
    assert count >= 6, "a job, an endpoint and a secret are deleted"


def test_fetching(place: Place, tmp_path: Path) -> None:
    logged = Place(tmp_path, place.service, results={"via": "log"})

    def begin() -> JobSpec:
        job = logged.one()
        handle, name = submitted(logged, job), job_name(job, 0)
        place.service.script(name, ENDS)
        place.service.write_log(name, "".join(f"{line}\n" for line in lines(packed(handle), name)))
        return job

    def act(job: JobSpec) -> None:
        assert logged.status(handle_of(job)).state is JobState.COMPLETED
        logged.backend().fetch(handle_of(job), "a.0", tmp_path / "home")

    def check(job: JobSpec) -> None:
        act(job)
        assert (step_files(job, "a.0").folder / "results.yml").read_text() == "results: {}\n"
        assert logged.jobs(job) == [job_name(job, 0)]
        logged.backend().cancel([handle_of(job)])
        for path in step_files(job, "a.0").folder.glob("stage.*"):
            path.unlink()

    assert at_every_request(act, begin, check) >= 2
