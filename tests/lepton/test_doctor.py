"""What `proctor doctor` says about jobs on Lepton, without making anything."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from proctor.blocks.finding import Finding
from proctor.blocks.job import EnvVar
from tests.lepton.login import log_in
from tests.lepton.place import Place
from tests.lepton.service import Service
from tests.lepton.storage import Storage


@pytest.fixture
def place(legacy: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    log_in(monkeypatch, legacy)
    return Place(tmp_path, legacy)


def found(place: Place, *env: EnvVar) -> Sequence[Finding]:
    return list(place.backend().examine([place.one(*env)]))


def test_everything_is_well(place: Place) -> None:
    said = found(place)
    assert [each.level for each in said] == ["ok", "ok", "ok"]
    assert said[0].what == "Lepton takes the token"
    assert not [each for each in place.service.requests if each.method != "GET"]


@pytest.mark.parametrize(
    ("section", "env", "words"),
    [
        ({"resource_shape": "cpu.smal"}, (), "cpu.smal"),
        ({"node_group": "nowhere"}, (), "nowhere"),
        ({}, (EnvVar("A", "runtime", "MISSING"),), "the workspace has no secret 'MISSING'"),
        ({"mounts": [{"from": "node-nfs:shared", "mount_path": "/opt"}]}, (), "reserved by Lepton"),
        ({"results": {"via": "mount"}}, (), "execution.results.volume is missing"),
    ],
)
def test_a_problem_is_one_sentence(
    place: Place, tmp_path: Path, section: dict[str, Any], env: tuple[EnvVar, ...], words: str
) -> None:
    last = found(Place(tmp_path, place.service, **section), *env)[-1]
    assert last.level == "problem" and words in f"{last.what} {last.do}"


def test_a_refused_token(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEPTON_API_TOKEN", "wrong")
    (only,) = found(place)
    assert only.level == "problem" and "refuses the token" in only.what


def test_a_way_home_with_limits_is_a_warning(place: Place, tmp_path: Path) -> None:
    last = found(Place(tmp_path, place.service, results={"via": "log"}))[-1]
    assert last.level == "warning" and "up to 8 MiB" in last.what


@pytest.mark.slow
def test_a_session_token_is_a_warning(
    place: Place, tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in storage.env.items():
        monkeypatch.setenv(name, value)
    results = {"via": "object", "url": storage.url, "options": storage.options}
    assert found(Place(tmp_path, place.service, results=results))[-1].level == "ok"
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session")
    last = found(Place(tmp_path, place.service, results=results))[-1]
    assert last.level == "warning" and "session token" in last.what


def test_the_log_of_the_model_server(place: Place) -> None:
    place.service.script("*-s", [("Ready", None)])
    (handle,) = place.submit(place.one(server=place.scripted()))
    place.service.write_log(f"{handle.name}-s", "one\ntwo\nthree\n")
    assert list(place.backend().logs(handle, None, follow=False, tail=2)) == ["two", "three"]
