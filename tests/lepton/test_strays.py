"""What `proctor reap` finds in a workspace, and what it leaves alone."""

from pathlib import Path

import pytest

from tests.lepton.login import log_in
from tests.lepton.place import RUNS, Place, asks
from tests.lepton.sdk import client, endpoint, job
from tests.lepton.service import Service
from tests.waiting import wait_closely


def test_only_what_carries_our_names_is_found_and_removed(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(monkeypatch, service)
    service.script("*-[0-9]", RUNS)
    place = Place(tmp_path, service)
    (handle,) = place.submit(place.job(asks(place.step("a.0")), server=place.scripted()))
    place.until(handle, lambda found: bool(place.jobs(handle)))
    lepton = client(service)
    lepton.job.create(job("proctor-notes"))
    lepton.job.create(job("theirs-0"))
    lepton.deployment.create(endpoint("proctor-demo-s"))
    service.secrets["proctor-key"] = "theirs"
    found = place.backend().strays()
    assert {each.evaluation for each in found} == {handle.evaluation}
    assert sorted(each.what.split()[1] for each in found) == ["endpoint", "job", "secret"]
    place.backend().remove_strays(found)
    wait_closely(lambda: sorted(service.live()) == ["proctor-demo-s", "proctor-notes", "theirs-0"])
    assert list(service.secrets) == ["proctor-key"]
    assert place.backend().strays() == []
    place.backend().remove_strays(found)
