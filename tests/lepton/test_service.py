"""What the stand-in refuses, has and breaks, driven through the unmodified SDK."""

import time
import warnings
from typing import Any

import pytest
import requests
from leptonai.api.v2 import APIClient, ServerError, WorkspaceUnauthorizedError
from leptonai.api.v2.types.job import LeptonJob
from leptonai.api.v2.types.secret import SecretItem

from tests.lepton.sdk import client, job, refused, state
from tests.lepton.service import Service

RUNS: list[tuple[str, float | None]] = [("Running", None)]


def test_what_the_sdk_never_sends_is_refused_too(legacy: Service) -> None:
    headers = {"Authorization": f"Bearer {legacy.token}"}
    fine: dict[str, Any] = {"resource_shape": "cpu.small", "container": {"image": "i"}}

    def post(path: str, body: object) -> tuple[int, str]:
        answer = requests.post(legacy.url + path, json=body, headers=headers, timeout=5)
        return answer.status_code, answer.json().get("message", "")

    assert post("/jobs", {"metadata": {"name": "j1"}, "spec": {**fine, "shape": "x"}}) == (
        400,
        'json: unknown field "spec.shape"',
    )
    for name in ("A", "1a", "a-", "a" * 37, "a_b", "", "run-by-lepton"):
        assert post("/jobs", {"metadata": {"name": name}, "spec": fine})[0] == 400
    assert post("/jobs", {"metadata": {"name": "j1", "labels": {"a/b": "c"}}, "spec": fine})[0] == 400
    assert post("/jobs", "text")[0] == 400 and post("/nothing", {})[0] == 404 and post("//jobs", {})[0] == 404
    assert post("/jobs", {"metadata": {"name": "j1"}, "spec": fine})[0] == 201


def test_a_wrong_token_is_refused(legacy: Service) -> None:
    stranger = client(legacy, "another-long-token-zzz")
    with pytest.raises(WorkspaceUnauthorizedError):
        stranger.info()
    with refused(401):
        stranger.job.list_all()
    with refused(401):
        stranger.secret.list_all()


def test_secrets_never_tell_their_values(legacy: Service, lepton: APIClient) -> None:
    lepton.secret.create([SecretItem(name="HF", value="hidden"), SecretItem(name="B", value="2")])
    assert {each.name: each.value for each in lepton.secret.list_all()} == {"HF": None, "B": None}
    assert legacy.secrets == {"HF": "hidden", "B": "2"}
    with refused(409):
        lepton.secret.create([SecretItem(name="HF", value="other")])
    with refused(400, "reserved"):
        lepton.secret.create([SecretItem(name="LEPTON_X", value="1")])
    lepton.secret.delete("HF")
    with refused(404):
        lepton.secret.delete("HF")


def test_a_workspace_tells_what_it_has(service: Service) -> None:
    lepton = client(service)
    info = lepton.info()
    assert (info.workspace_name, info.features.enable_new_deployment_api) == ("ws1", service.world.family == "new")
    groups = {each.metadata.name: each.metadata.id_ for each in lepton.nodegroup.list_all()}
    gpu = groups["h200-pool"]
    assert lepton.nodegroup.get(gpu).status.quota_enabled is True
    assert [each.metadata.id_ for each in lepton.nodegroup.list_nodes(gpu)] == ["node-a1", "node-a2"]
    assert [each.metadata.id_ for each in lepton.nodegroup.list_reservations(gpu)] == ["reservation-7x2k"]
    assert lepton.nodegroup.list_storage_data_sources(gpu) == []
    names = {each.metadata.id_ for each in lepton.shapes.list_shapes(node_group=gpu, purpose="deployment")}
    assert names == {"cpu.small", "gpu.1xh200", "gpu.8xh200"}
    cpu = {each.metadata.id_ for each in lepton.shapes.list_shapes(node_group=groups["cpu-pool"], purpose="job")}
    assert cpu == {"cpu.small", "cpu.large", "cpu.batch"}
    assert len(lepton.shapes.list_shapes()) == 5 and lepton.shapes.list_shapes(node_group="none") == []


def test_faults_happen_as_often_as_they_are_told(legacy: Service, lepton: APIClient) -> None:
    legacy.fault("GET", "/jobs*", status=429, headers={"Retry-After": "7"})
    with refused(429) as caught:
        lepton.job.list_all()
    assert caught.value.response.headers["Retry-After"] == "7" and lepton.job.list_all() == []
    legacy.fault("*", "*", status=503, times=2)
    for _ in range(2):
        with pytest.raises(ServerError):
            lepton.secret.list_all()
    assert lepton.secret.list_all() == []
    legacy.fault("GET", "/jobs*", body=b"<html>")
    with pytest.raises(RuntimeError, match="programming error"):
        lepton.job.list_all()
    legacy.fault("GET", "/jobs*", delay=0.5)
    lepton._timeout = 0.2
    with pytest.raises(requests.exceptions.ReadTimeout):
        lepton.job.list_all()


def test_an_answer_may_be_lost_after_the_deed(legacy: Service, lepton: APIClient) -> None:
    legacy.fault("POST", "/jobs", drop=True)
    with pytest.raises(requests.ConnectionError):
        lepton.job.create(job("never-made"))
    legacy.fault("POST", "/jobs", drop=True, after=True)
    with pytest.raises(requests.ConnectionError):
        lepton.job.create(job("made"))
    assert [each["metadata"]["name"] for each in legacy.jobs] == ["made"]
    assert [each.metadata.name for each in lepton.job.list_all(q="made")] == ["made"]


def test_requests_are_kept_as_they_were_sent(legacy: Service, lepton: APIClient) -> None:
    body = job("kept", labels={"a": "b"})
    lepton.job.create(body)
    (sent,) = legacy.requests
    assert (sent.method, sent.path, sent.status) == ("POST", "/jobs", 201)
    assert sent.headers["Authorization"] == f"Bearer {legacy.token}"
    assert sent.body["metadata"] == {"name": "kept", "labels": {"a": "b"}}
    lepton.job.update(legacy.jobs[0]["metadata"]["id"], {"spec": {"stopped": True}})
    assert "stopped" not in sent.body["spec"]
    lepton.job.list_all(q="x", page=1, page_size=2)
    assert legacy.requests[-1].query == {
        "job_query_mode": ["alive_only"],
        "q": ["x"],
        "page": ["1"],
        "page_size": ["2"],
    }


def test_a_workload_can_vanish_and_be_told_a_new_course(legacy: Service, lepton: APIClient) -> None:
    legacy.script("*", RUNS)
    key = lepton.job.create(job()).metadata.id_
    legacy.script("proctor-*", [("Weird", None)])
    assert state(lepton, key) == "UNK"
    legacy.vanish(key)
    with refused(404):
        lepton.job.get(key)


def test_a_request_takes_no_time(legacy: Service, lepton: APIClient) -> None:
    lepton.job.create(LeptonJob(**job().model_dump(by_alias=True)))
    took = []
    with warnings.catch_warnings():
        for _ in range(50):
            began = time.perf_counter()
            lepton.job.list_all(page=1, page_size=50)
            took.append(time.perf_counter() - began)
    assert min(took) < 0.04, "with Nagle's algorithm each one takes that"
