"""Model servers behind endpoints, in both families: made once, awaited, believed only when they answer, and removed."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from proctor.blocks.errors import TransientError
from proctor.blocks.job import EnvVar, JobHandle, JobSpec, JobState
from proctor.blocks.job_files import step_files
from proctor.blocks.lepton import connection, servers
from proctor.blocks.lepton.render import endpoint_name
from proctor.configs.lepton_endpoint import planned_model
from tests.lepton.login import log_in
from tests.lepton.place import RUNS, Place, asks, posts
from tests.lepton.service import Service
from tests.waiting import wait_closely

pytestmark = pytest.mark.slow


@pytest.fixture
def place(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    log_in(monkeypatch, service)
    service.script("proctor-*-[0-9]", RUNS)
    yield Place(tmp_path, service)


def served(place: Place, **server: Any) -> JobSpec:
    """A job of one benchmark that asks its own endpoint."""
    return place.job(asks(place.step("a.0")), server=replace(place.scripted(), **server))


def submitted(place: Place, **server: Any) -> JobHandle:
    (handle,) = place.submit(served(place, **server))
    return handle


def asked_for(place: Place) -> int:
    """How often an endpoint was asked for."""
    return posts(place.service, "/deployments") + posts(place.service, "/endpoints")


def command(service: Service) -> str:
    """The shell text of the newest job."""
    return str(service.jobs[-1]["spec"]["container"]["command"][-1])


def test_the_benchmark_waits_until_the_endpoint_lists_the_model(place: Place) -> None:
    place.service.script("*-s", [("Starting", None)])
    handle = submitted(place)
    assert place.service.jobs == []
    assert place.says(handle) == "server starting"
    place.service.script("*-s", [("Ready", None)])
    status = place.until(handle, lambda found: found.state is JobState.RUNNING)
    assert status.server and status.server.state is JobState.RUNNING
    (endpoint,) = place.service.endpoints
    token = place.service.secrets[f"{handle.name}.PROCTOR_ENDPOINT_TOKEN"]
    assert token not in json.dumps([endpoint, *place.service.jobs])
    gateway = place.service.api_endpoints.gateways[endpoint_name(handle)].url
    assert f"url: {gateway}/v1" in command(place.service)
    assert asked_for(place) == 1


def test_the_server_s_models_are_kept_with_the_results(place: Place) -> None:
    handle = submitted(place)
    place.until(handle, lambda found: found.state is JobState.RUNNING)
    place.finish(handle)
    assert place.wait(handle).state is JobState.COMPLETED
    models = json.loads((step_files(handle, "a.0").folder / "server-models.json").read_text())
    assert [each["id"] for each in models["data"]] == [place.service.served_model]


def ended(place: Place, handle: JobHandle) -> str:
    """What is said about a benchmark whose server will not answer."""
    status = place.wait(handle)
    step = status.steps["a.0"]
    assert (step.state, step.exit_code) == (JobState.FAILED, 69)
    assert status.server and status.server.state is JobState.FAILED
    return status.server.message


class TestNeverReady:
    """Why, in words, and the endpoint is not left behind."""

    def test_an_endpoint_in_error_fails_at_once_with_its_last_lines(self, place: Place) -> None:
        place.service.script("*-s", [("Starting", 0.2), ("Error", None)])
        handle = submitted(place)
        place.service.write_log(endpoint_name(handle), "CUDA out of memory\n")
        assert "its endpoint is in the state Error; its events: Scheduled, BackOff" in ended(place, handle)
        server = place.status(handle).server
        assert server and "CUDA out of memory" in server.log_tail
        assert place.jobs(handle) == []

    @pytest.mark.parametrize("status", [403, 503])
    def test_a_log_that_cannot_be_had_changes_nothing(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, status: int
    ) -> None:
        monkeypatch.setattr(connection, "TRIES", 0)
        place.service.script("*-s", [("Error", None)])
        place.service.fault("GET", "/logs", status=status, times=None)
        handle = submitted(place)
        assert "its endpoint is in the state Error" in ended(place, handle)
        server = place.status(handle).server
        assert server and server.log_tail == "(its log is not to be had)"

    def test_one_that_takes_too_long(self, place: Place) -> None:
        place.service.script("*-s", [("Starting", None)])
        handle = submitted(place, ready_timeout=1)
        place.service.add_event(endpoint_name(handle), "FailedScheduling")
        place.service.workload(endpoint_name(handle)).terminations.append(
            {"started_at": 1, "finished_at": 2, "exit_code": 137, "reason": "Error", "message": "killed"}
        )
        said = ended(place, handle)
        assert "server did not answer within 1 s: starting; its events: Scheduled, FailedScheduling" in said
        assert ("its container ended with exit code 137 (Error) killed" in said) is (
            place.service.world.family == "legacy"
        )

    def test_events_that_cannot_be_had_hide_nothing_else(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection, "TRIES", 0)
        place.service.script("*-s", [("Starting", None)])
        place.service.fault("GET", "*/events", status=500, times=None)
        place.service.fault("GET", "*/termination", status=500, times=None)
        assert "server did not answer within 1 s: starting" in ended(place, submitted(place, ready_timeout=1))

    def test_an_image_that_cannot_be_pulled(self, place: Place) -> None:
        place.service.script("*-s", [("Starting", None)])
        handle = submitted(place)
        place.service.add_event(endpoint_name(handle), "ImagePullBackOff")
        assert "its image cannot be pulled; check the image and execution.image_pull_secrets" in ended(place, handle)

    def test_another_model_is_named(self, place: Place) -> None:
        handle = submitted(place, served_model="llama", ready_timeout=1)
        assert "does not list the model llama: stand-in-model" in ended(place, handle)

    def test_a_token_that_it_does_not_take(self, place: Place) -> None:
        place.service.data_fault("GET", "*", status=401, times=None)
        assert "refuses our token (HTTP 401)" in ended(place, submitted(place))

    def test_an_ingress_that_lags_behind_is_waited_for(self, place: Place) -> None:
        place.service.data_fault("GET", "*", status=502, times=3)
        place.service.world.url_lag = 0.5
        place.until(submitted(place), lambda found: found.state is JobState.RUNNING)

    def test_one_that_lists_its_model_before_it_is_healthy_is_waited_for(self, place: Place) -> None:
        place.service.script("*-s", [("Ready", None)])
        place.service.data_fault("GET", "/health", status=503, times=2)
        handle = submitted(place)
        assert place.says(handle) == "server /health answers HTTP 503"
        place.until(handle, lambda found: found.state is JobState.RUNNING)

    def test_one_that_is_scaled_down_in_the_middle_ends_its_benchmarks(self, place: Place) -> None:
        handle = submitted(place)
        place.until(handle, lambda found: found.state is JobState.RUNNING)
        place.service.script("*-s", [("Stopped", None)])
        assert "was stopped on Lepton" in ended(place, handle)
        wait_closely(lambda: not [name for name in place.service.live() if name.endswith("-0")])

    @pytest.mark.parametrize(("days", "up"), [(6, True), (8, False)])
    def test_nobody_asks_it_for_days(self, place: Place, days: int, up: bool) -> None:
        handle = submitted(place)
        place.until(handle, lambda found: found.state is JobState.RUNNING)
        place.service.workload(endpoint_name(handle)).asked -= days * 86400
        status = place.status(handle)
        assert (status.state is JobState.RUNNING) is up
        if not up:
            assert "was stopped on Lepton" in ended(place, handle)

    def test_one_that_was_removed_in_the_middle_ends_its_benchmarks(self, place: Place) -> None:
        handle = submitted(place)
        place.until(handle, lambda found: found.state is JobState.RUNNING)
        place.service.vanish(endpoint_name(handle))
        assert "its endpoint was removed from Lepton" in ended(place, handle)

    def test_nothing_is_left_afterwards(self, place: Place) -> None:
        place.service.script("*-s", [("Error", None)])
        handle = submitted(place)
        ended(place, handle)
        place.backend().cancel([handle])
        assert (place.service.endpoints, place.service.jobs, place.service.secrets) == ([], [], {})


def test_an_endpoint_without_our_marker_is_never_deleted(place: Place) -> None:
    handle = submitted(place)
    theirs = place.service.workload(endpoint_name(handle))
    parts = [theirs.spec, *theirs.spec.get("components", [])]
    for part in parts:
        part["envs"] = []
    place.backend().cancel([handle])
    assert [each["metadata"]["name"] for each in place.service.endpoints] == [endpoint_name(handle)]


@pytest.mark.parametrize("kind", ["vllm", "sglang", "nim"])
def test_a_server_that_needs_accelerators_is_not_put_on_the_jobs_shape(place: Place, tmp_path: Path, kind: str) -> None:
    asked = Place(tmp_path, place.service, resource_shape="cpu.large")
    problem = str(asked.refused(served(asked, kind=kind)))
    assert f"endpoint_resource_shape is missing: {kind} would run on cpu.large, which has no accelerators" in problem
    assert "choose from gpu.1xh200, gpu.8xh200" in problem
    assert (place.service.endpoints, place.service.secrets) == ([], {})


def test_a_port_that_there_is_not_is_found_before_anything_is_made(place: Place) -> None:
    problem = str(place.refused(served(place, port=70000)))
    assert "deployment: Lepton's spec.container.ports.0.container_port is wrong" in problem
    assert "70000" not in problem, "no value of a document stands in an error"
    assert (place.service.endpoints, place.service.secrets) == ([], {})


@pytest.mark.parametrize("kind", ["vllm", "sglang", "nim"])
@pytest.mark.parametrize("shape", ["cpu.small", "gpu.1xh200"])
def test_every_kind_of_server_serves(place: Place, tmp_path: Path, kind: str, shape: str) -> None:
    asked = Place(tmp_path, place.service, endpoint_resource_shape=shape)
    health = "/v1/health/ready" if kind == "nim" else "/health"
    (handle,) = asked.submit(served(asked, kind=kind, health_path=health))
    asked.until(handle, lambda found: found.state is JobState.RUNNING)
    assert health in {each.path for _, each in place.service.data_requests}


class TestCreation:
    """One endpoint for a job, whatever happens to the requests."""

    def test_a_lost_reply_makes_no_second_one(self, place: Place) -> None:
        for path in ("/deployments", "/endpoints"):
            place.service.fault("POST", path, drop=True, after=True)
        job = served(place)
        with pytest.raises(TransientError):
            place.backend().submit([job])
        (handle,) = place.submit(job)
        place.until(handle, lambda found: found.state is JobState.RUNNING)
        assert [each["metadata"]["name"] for each in place.service.endpoints] == [endpoint_name(job)]
        assert asked_for(place) == 1

    def test_one_that_is_there_and_could_not_be_seen_is_adopted(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(servers, "REMOVAL", 5.0)
        for path in ("/deployments", "/endpoints"):
            place.service.fault("POST", path, drop=True, after=True)
            place.service.fault("GET", f"{path}/*", status=404, times=2)
        job = served(place)
        with pytest.raises(TransientError):
            place.backend().submit([job])
        (handle,) = place.submit(job)
        assert asked_for(place) == 2, "the second one was refused: its name is taken"
        place.until(handle, lambda found: found.state is JobState.RUNNING)

    @pytest.mark.slow
    def test_one_whose_removal_never_ends_is_refused_in_the_end(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(servers, "REMOVAL", 3.0)
        place.service.world.deletion = 60
        place.submit(job := served(place))
        place.backend().workspace.delete_endpoint(endpoint_name(job))
        for path in (Path(job.output_dir) / ".proctor").glob("*.json"):
            path.unlink()
        started = time.monotonic()
        assert "already exists" in str(place.refused(job))
        assert 3 <= time.monotonic() - started < 20

    def test_nothing_is_changed_once_it_is_made(self, place: Place) -> None:
        """So nothing is refused as `no valid field to update`."""
        handle = submitted(place)
        place.until(handle, lambda found: found.state is JobState.RUNNING)
        place.submit(place.job(asks(place.step("a.0")), server=place.scripted()))
        place.backend().cancel([handle])
        assert {each.method for each in place.service.requests} == {"GET", "POST", "DELETE"}

    def test_one_of_somebody_else_under_its_name_is_refused_and_left_alone(self, place: Place) -> None:
        mine = submitted(place)
        other = served(place)
        theirs = place.service.workload(endpoint_name(mine))
        theirs.id = theirs.name = endpoint_name(other)
        place.service.world.endpoints = {theirs.id: theirs}
        place.service.api_endpoints.gateways[theirs.id] = place.service.api_endpoints.gateways[endpoint_name(mine)]
        assert "there is one of that name in the workspace that is not ours" in str(place.refused(other))
        assert [each["metadata"]["name"] for each in place.service.endpoints] == [theirs.id]

    @pytest.mark.slow
    def test_one_that_is_still_being_removed_is_waited_for(self, place: Place) -> None:
        place.service.world.deletion = 3
        job = served(place)
        (handle,) = place.submit(job)
        place.backend().workspace.delete_endpoint(endpoint_name(job))
        for path in (Path(job.output_dir) / ".proctor").glob("*.json"):
            path.unlink()
        (handle,) = place.submit(job)
        place.until(handle, lambda found: found.state is JobState.RUNNING)

    def test_it_is_never_scaled_down_and_has_its_replicas(self, place: Place, tmp_path: Path) -> None:
        other = Place(tmp_path, place.service, num_replicas=2, endpoint_resource_shape="gpu.1xh200")
        submitted(other)
        endpoint = place.service.workload(place.service.endpoints[0]["metadata"]["name"])
        assert (endpoint.blueprint.replicas, endpoint.blueprint.shape) == (2, "gpu.1xh200")
        assert '"no_traffic_timeout": 604800' in json.dumps(endpoint.spec)

    def test_a_fresh_token_of_the_workspace_still_opens_it(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        place.service.script("*-s", [("Starting", 1), ("Ready", None)])
        handle = submitted(place)
        place.service.token = "a-fresh-token-4711"
        log_in(monkeypatch, place.service)
        place.until(handle, lambda found: found.state is JobState.RUNNING)


def config(api_endpoint: dict[str, Any]) -> str:
    """A run config that asks so."""
    return yaml.safe_dump({"target": {"api_endpoint": api_endpoint}})


class TestNamed:
    """`target.api_endpoint: {type: lepton, deployment_name: NAME}`."""

    def endpoint(self, place: Place, name: str = "llama", token: str = "its-own-token") -> None:
        container = {"image": "x", "ports": [{"container_port": 8000}]}
        resources = {"resource_shape": "gpu.1xh200", "min_replicas": 1, "max_replicas": 1}
        tokens = [{"value": token}] if token else []
        spec = {"container": container, "resource_requirement": resources, "api_tokens": tokens}
        place.backend().workspace.create_endpoint({"metadata": {"name": name}, "spec": spec})

    def job(self, place: Place, name: str = "llama") -> JobSpec:
        step = asks(place.step("a.0"), name)
        return place.job(replace(step, run_config=f"{step.run_config}model_id: {planned_model(name)}\n"))

    def test_url_token_and_model_are_those_of_the_endpoint(self, place: Place) -> None:
        self.endpoint(place)
        place.service.script("llama", [("Ready", None)])
        (handle,) = place.submit(self.job(place))
        assert place.status(handle).state is JobState.RUNNING
        assert "model_id: stand-in-model" in command(place.service)
        assert f"url: {place.service.api_endpoints.gateways['llama'].url}/v1" in command(place.service)
        assert place.service.secrets[f"{handle.name}.PROCTOR_ENDPOINT_TOKEN"] == "its-own-token"
        place.backend().cancel([handle])
        assert [each["metadata"]["name"] for each in place.service.endpoints] == ["llama"], "it is not ours"

    def test_its_models_are_kept_with_the_results(self, place: Place) -> None:
        self.endpoint(place)
        place.service.script("llama", [("Ready", None)])
        (handle,) = place.submit(self.job(place))
        place.finish(handle)
        assert place.wait(handle).state is JobState.COMPLETED
        assert place.service.served_model in (step_files(handle, "a.0").folder / "server-models.json").read_text()

    def test_a_public_one_needs_no_token(self, place: Place) -> None:
        self.endpoint(place, token="")
        place.service.script("llama", [("Ready", None)])
        (handle,) = place.submit(self.job(place))
        assert place.status(handle).state is JobState.RUNNING
        assert "model_id: stand-in-model" in command(place.service)

    def asking(self, place: Place, *env: EnvVar, **api_endpoint: str) -> JobSpec:
        """A job whose benchmark asks with a key of the user's, or for a model of the user's."""
        self.endpoint(place)
        place.service.script("llama", [("Ready", None)])
        step = asks(place.step("a.0", "", *env), "llama")
        return place.job(replace(step, run_config=config({"model_id": planned_model("llama"), **api_endpoint})))

    def test_the_users_own_key_is_used_for_asking(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        place.service.world.redact_tokens = True
        monkeypatch.setenv("MY_KEY", "its-own-token")
        place.submit(self.asking(place, EnvVar("MY_KEY", "host", "MY_KEY"), api_key_name="MY_KEY"))
        assert "model_id: stand-in-model" in command(place.service)

    def test_a_key_that_it_refuses(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MY_KEY", "wrong")
        problem = place.refused(self.asking(place, EnvVar("MY_KEY", "host", "MY_KEY"), api_key_name="MY_KEY"))
        assert "refuses the key (HTTP 401); check the value of MY_KEY" in str(problem)

    def test_a_key_that_only_the_workspace_knows_goes_with_a_model(self, place: Place) -> None:
        place.service.world.redact_tokens = True
        place.service.secrets["KEY"] = "its-own-token"
        job = self.asking(place, EnvVar("MY_KEY", "runtime", "KEY"), api_key_name="MY_KEY")
        assert "model_id is missing; name the model of the endpoint 'llama'" in str(place.refused(job))
        named = replace(job.steps[0], run_config=config({"model_id": "mine", "api_key_name": "MY_KEY"}))
        (handle,) = place.submit(place.job(named))
        assert place.status(handle).state is JobState.RUNNING

    def test_a_model_that_it_does_not_have(self, place: Place) -> None:
        assert "the endpoint 'llama' has no model 'other'; it lists stand-in-model" in str(
            place.refused(self.asking(place, model_id="other"))
        )

    def test_one_that_lists_no_model(self, place: Place) -> None:
        place.service.data_fault("GET", "/v1/models", status=404, times=None)
        problem = str(place.refused(self.asking(place)))
        assert "model_id is missing" in problem and "HTTP 404" in problem
        assert (place.service.jobs, place.service.secrets) == ([], {})

    def test_one_that_never_starts_is_given_up(self, place: Place, tmp_path: Path) -> None:
        self.endpoint(place)
        place.service.script("llama", [("Starting", None)])
        hasty = Place(tmp_path, place.service, endpoint_readiness_timeout=1)
        job = self.job(place)
        with pytest.raises(TransientError):
            hasty.backend().submit([job])
        time.sleep(1.1)
        assert "'llama' starting; not within 1 s (execution.endpoint_readiness_timeout)" in str(hasty.refused(job))

    def test_a_name_that_is_not_there(self, place: Place) -> None:
        self.endpoint(place)
        problem = str(place.refused(self.job(place, "lama")))
        assert "the workspace has no endpoint 'lama'; it has llama" in problem

    def test_one_that_is_stopped(self, place: Place) -> None:
        self.endpoint(place)
        place.service.script("llama", [("Stopped", None)])
        assert "'llama' was stopped on Lepton: it has no replica; start it first" in str(place.refused(self.job(place)))

    def test_one_that_starts_is_waited_for(self, place: Place) -> None:
        self.endpoint(place)
        place.service.script("llama", [("Starting", None)])
        with pytest.raises(TransientError, match="'llama' starting"):
            place.backend().submit([self.job(place)])

    def test_a_token_that_nobody_is_told(self, place: Place) -> None:
        place.service.world.redact_tokens = True
        self.endpoint(place)
        place.service.script("llama", [("Ready", None)])
        assert "put it into a variable and name that as api_key_name" in str(place.refused(self.job(place)))
