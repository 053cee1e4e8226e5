"""Nobody listens where Lepton should be, or a proxy stands between: that passes, and the jobs run on."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from proctor.blocks.errors import TransientError
from proctor.blocks.job import JobState
from proctor.blocks.lepton import connection
from tests.flows.stack import free_port
from tests.lepton.login import log_in
from tests.lepton.place import RUNS, Place, posts
from tests.lepton.service import Service
from tests.lepton.wire import Listener


@pytest.fixture
def place(legacy: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    log_in(monkeypatch, legacy)
    legacy.script("proctor-*-[0-9]", RUNS)
    yield Place(tmp_path, legacy)


def deaf(service: Service) -> None:
    """Let nobody listen any more."""
    service.listener.stop()


def listening(service: Service) -> None:
    """Let it listen again where it did."""
    service.listener = Listener(service.answer, service.listener.port)


def test_a_service_that_comes_back_soon_was_never_away(place: Place) -> None:
    (handle,) = place.submit(place.one())
    deaf(place.service)
    back = threading.Timer(1, listening, [place.service])
    back.start()
    assert place.status(handle).state is JobState.RUNNING
    back.join()


def test_one_that_stays_away_says_nothing_about_jobs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TRIES", 0)
    (handle,) = place.submit(place.one())
    deaf(place.service)
    for ask in (lambda: place.status(handle), lambda: place.backend().cancel([handle])):
        with pytest.raises(TransientError, match=r"does not answer \(ConnectionError\)"):
            ask()
    listening(place.service)
    assert place.backend().cancel([handle])[handle].state is JobState.CANCELLED


def test_a_proxy_that_is_down_is_waited_for(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in is its own proxy: it answers for a host that there is not."""
    monkeypatch.setattr(connection, "TRIES", 0)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    beyond = Place(tmp_path, place.service, workspace_url=f"http://lepton.invalid{place.service.root}")
    job = beyond.one()
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(TransientError, match=r"does not answer \(ProxyError\)"):
        beyond.backend().submit([job])
    monkeypatch.setenv("HTTP_PROXY", place.service.listener.url)
    monkeypatch.setenv("http_proxy", place.service.listener.url)
    (handle,) = beyond.submit(job)
    assert beyond.status(handle).state is JobState.RUNNING
    assert posts(place.service) == 1


def test_neither_a_proxy_nor_netrc_is_meant_for_this_machine(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    (handle,) = place.submit(place.one())
    assert place.status(handle).state is JobState.RUNNING
