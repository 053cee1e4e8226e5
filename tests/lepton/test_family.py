"""Which of its two families of endpoints a workspace has is learned, never guessed; and what it does not allow is said."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from leptonai.api.v2 import reset_new_deployment_api_flag_cache

from proctor.blocks.errors import RejectedError, TransientError
from proctor.blocks.job import EnvVar, JobHandle, JobSpec, JobState
from proctor.blocks.lepton import connection
from proctor.blocks.lepton.render import endpoint_name
from tests.lepton.login import log_in
from tests.lepton.place import RUNS, Place, asks
from tests.lepton.service import Service

FAMILIES = ("/deployments", "/endpoints")


@pytest.fixture
def place(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    log_in(monkeypatch, service)
    monkeypatch.setattr(connection, "TRIES", 0)
    service.script("proctor-*-[0-9]", RUNS)
    yield Place(tmp_path, service)


def served(place: Place, *env: EnvVar) -> JobSpec:
    """A job of one benchmark that asks its own endpoint."""
    return place.job(asks(place.step("a.0", "", *env)), server=place.scripted())


def submitted(place: Place) -> JobHandle:
    (handle,) = place.submit(served(place))
    return handle


def is_running(place: Place, handle: JobHandle) -> None:
    place.until(handle, lambda found: found.state is JobState.RUNNING)


def start_anew() -> None:
    """A process that starts knows no client and no family."""
    connection.MADE.clear()
    reset_new_deployment_api_flag_cache()


def about_endpoints(place: Place) -> list[str]:
    """The methods with which endpoints were asked for or about."""
    return [each.method for each in place.service.requests if each.path.startswith(FAMILIES)]


class TestUnknown:
    """`GET /workspace` says which one it is; while it does not, nothing is made and nothing believed."""

    @pytest.mark.parametrize("times", [1, 2])
    def test_a_short_outage_is_not_seen(self, place: Place, times: int) -> None:
        place.service.fault("GET", "/workspace", status=503, times=times)
        is_running(place, submitted(place))

    def test_it_is_learned_again_when_it_could_not_be_asked_for(self, place: Place) -> None:
        place.service.fault("GET", "/workspace", status=503, times=3)
        is_running(place, submitted(place))

    @pytest.mark.slow
    def test_nothing_is_made_before_it_is_known(self, place: Place) -> None:
        job = served(place)
        place.service.fault("GET", "/workspace", status=503, times=None)
        with pytest.raises(TransientError):
            place.backend().submit([job])
        assert about_endpoints(place) == []
        place.service.faults.clear()
        (handle,) = place.submit(job)
        is_running(place, handle)

    def test_nothing_counts_as_removed_before_it_is_known(self, place: Place) -> None:
        """The family that a workspace does not have knows no endpoint of ours, which says nothing."""
        handle = submitted(place)
        start_anew()
        place.service.fault("GET", "/workspace", status=503, times=None)
        for wrong in FAMILIES:
            place.service.fault("*", f"{wrong}/*", status=404, times=None)
        with pytest.raises(TransientError):
            place.backend().cancel([handle])
        place.service.faults.clear()
        place.backend().cancel([handle])
        assert place.service.endpoints == []

    def test_no_log_is_called_empty_before_it_is_known(self, place: Place) -> None:
        handle = submitted(place)
        place.service.write_log(endpoint_name(handle), "loading weights\n")
        start_anew()
        place.service.fault("GET", "/workspace", status=503, times=None)
        with pytest.raises(TransientError):
            list(place.backend().logs(handle, None, follow=False, tail=5))
        place.service.faults.clear()
        assert list(place.backend().logs(handle, None, follow=False, tail=5)) == ["loading weights"]


class TestForbidden:
    """403 is what the other family answers, and what a token without permission is answered."""

    def test_a_workspace_that_has_changed_its_family_is_asked_in_the_other(self, place: Place) -> None:
        assert place.backend().workspace.endpoints() == []
        place.service.world.family = "new" if place.service.world.family == "legacy" else "legacy"
        is_running(place, submitted(place))

    def test_a_token_without_permission_is_asked_for_once_more_and_then_said(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CANARY", "canary-4711")
        for path in FAMILIES:
            body = {"code": "Forbidden", "message": "not yours"}
            place.service.fault("*", f"{path}*", status=403, times=None, body=body)
        problem = place.refused(served(place, EnvVar("TOKEN", "host", "CANARY")))
        assert isinstance(problem, RejectedError)
        assert "no permission" in str(problem) and "not yours" in str(problem)
        assert about_endpoints(place)[:2] == ["GET", "GET"] and "POST" not in about_endpoints(place)
        assert (place.service.jobs, place.service.secrets) == ([], {})


class TestUnauthorized:
    """A token that expires blinds us: jobs run on, and a fresh one finds them."""

    def test_where_the_family_is_asked_for(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        handle = submitted(place)
        start_anew()
        place.service.fault("GET", "/workspace", status=401, times=None)
        with pytest.raises(TransientError, match=r"refuses the token \(401\).*proctor resume"):
            place.status(handle)
        place.service.faults.clear()
        is_running(place, handle)

    def test_at_a_second_submission_nothing_is_taken_back(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        (handle,) = place.submit(job := served(place))
        is_running(place, handle)
        place.service.token = "fresh-4711"
        with pytest.raises(TransientError, match="refuses the token"):
            place.backend().submit([job])
        log_in(monkeypatch, place.service)
        place.submit(job)
        is_running(place, handle)
        assert [each.method for each in place.service.requests].count("DELETE") == 0
        assert place.jobs(handle) == [f"{handle.name}-0"]

    @pytest.mark.slow
    def test_where_only_endpoints_refuse_it(self, place: Place) -> None:
        def refuse() -> None:
            for path in FAMILIES:
                place.service.fault("*", f"{path}*", status=401, times=None)

        refuse()
        assert "refuses the token (401)" in str(place.refused(served(place)))
        assert (place.service.endpoints, place.service.jobs) == ([], [])
        place.service.faults.clear()
        place.service.script("*-s", [("Starting", 3), ("Ready", None)])
        handle = submitted(place)
        refuse()
        with pytest.raises(TransientError, match=r"refuses the token \(401\)"):
            place.status(handle)
        place.service.faults.clear()
        is_running(place, handle)
