"""The stand-in, driven through the unmodified SDK: what it does, and what it refuses."""

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
import requests
from leptonai.api.v2 import APIClient, ClientError, ServerError, WorkspaceUnauthorizedError
from leptonai.api.v2.endpoint import NewEndpointAPIUnsupported
from leptonai.api.v2.types.deployment import LeptonDeployment
from leptonai.api.v2.types.job import LeptonJob
from leptonai.api.v2.types.secret import SecretItem

from tests.lepton.sdk import client, endpoint, job
from tests.lepton.service import Service

RUNS: list[tuple[str, float | None]] = [("Running", None)]
EXACTLY = ("alive_only", "archive_only", "alive_and_archive")


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(deletion=0.05) as found:
        yield found


@pytest.fixture
def lepton(service: Service) -> APIClient:
    return client(service)


@pytest.fixture(params=["legacy", "new"])
def both(request: pytest.FixtureRequest) -> Iterator[Service]:
    family: Literal["legacy", "new"] = request.param
    with Service(family=family, deletion=0.05) as found:
        yield found


def eventually(question: Callable[[], object], seconds: float = 3.0) -> None:
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, question
        time.sleep(0.02)


def refused(status: int, words: str = "") -> Any:
    """A context in which the SDK raises for this status and these words."""
    return pytest.raises(ClientError, match=f"{status}.*{words}")


def state(lepton: APIClient, key: str) -> str:
    return str(lepton.job.get(key).status.state.value)


def test_a_job_goes_through_its_script_and_can_be_deleted(service: Service, lepton: APIClient) -> None:
    service.script("proctor-*", [("Queueing", None)])
    made = lepton.job.create(job("proctor-a-0", labels={"proctor.job": "a"}))
    key = made.metadata.id_
    assert key.startswith("proctor-a-0-") and len(key) == len("proctor-a-0-abcd")
    assert made.status.state.value == "Queueing" and lepton.job.get_replicas(key) == []
    service.script("proctor-*", [("Starting", 0.05), ("Running", None)])
    eventually(lambda: state(lepton, key) == "Running")
    (replica,) = lepton.job.get_replicas(key)
    assert replica.metadata.id_.startswith(f"{key}-0-")
    service.script("proctor-*", [("Completed", None)])
    done = lepton.job.get(key)
    assert (done.status.succeeded, done.status.failed, done.status.ready) == (1, 0, 0)
    assert done.spec.container.command == ["sh", "-c", "true"] and done.metadata.labels == {"proctor.job": "a"}
    assert lepton.job.delete(key) is True
    eventually(lambda: service.jobs == [])
    with refused(404):
        lepton.job.get(key)
    with refused(404):
        lepton.job.delete(key)


def test_a_name_may_stand_twice_and_lists_are_asked_as_the_sdk_does(service: Service, lepton: APIClient) -> None:
    service.script("*", RUNS)
    first = lepton.job.create(job("proctor-a-0", labels={"k": "1", "z": "2"})).metadata.id_
    second = lepton.job.create(job("proctor-a-0")).metadata.id_
    third = lepton.job.create(job("other")).metadata.id_

    def ids(**query: Any) -> list[str]:
        return [each.metadata.id_ for each in lepton.job.list_all(**query)]

    assert first != second and ids() == [third, second, first]
    assert ids(page=1, page_size=2) == [third, second] and ids(page=2, page_size=2) == [first]
    assert ids(page=3, page_size=2) == []
    assert ids(q="roctor-a") == [second, first]
    assert ids(query="k=1") == ids(query="k") == ids(query="k=1,z=2") == [first]
    assert ids(query="k=2") == ids(query="k,x") == []
    assert ids(status=["Running", "Failed"]) == [third, second, first] and ids(status=["Failed"]) == []
    assert [each["metadata"]["id"] for each in service.jobs] == [first, second, third]


def test_labels_may_be_dropped_and_lists_may_lag() -> None:
    with Service(persist_labels=False, list_lag=60) as service:
        lepton = client(service)
        key = lepton.job.create(job(labels={"k": "1"})).metadata.id_
        assert lepton.job.list_all() == [] and lepton.job.get(key).metadata.labels is None
        service.world.list_lag = 0
        assert [each.metadata.id_ for each in lepton.job.list_all()] == [key]
        assert lepton.job.list_all(query="k=1") == []


def test_an_archived_job_is_seen_only_by_who_asks_for_it(service: Service, lepton: APIClient) -> None:
    service.script("*", [("Failed", None)])
    key = lepton.job.create(job()).metadata.id_
    service.archive(key)
    assert {mode: len(lepton.job.list_all(job_query_mode=mode)) for mode in EXACTLY} == dict(
        zip(EXACTLY, (0, 1, 1), strict=True)
    )
    found = lepton.job.get(key)
    assert (found.status.state.value, found.status.failed) == ("Archived", 1)
    with refused(404):
        lepton.job.get(key, job_query_mode="alive_only")
    for mode in EXACTLY:
        with refused(404):
            lepton.job.delete(key, job_query_mode=mode)


def test_the_time_to_live_archives_a_job(service: Service, lepton: APIClient) -> None:
    service.script("*", [("Running", 0.1), ("Completed", None)])
    key = lepton.job.create(job(ttl_seconds_after_finished=0)).metadata.id_
    eventually(lambda: state(lepton, key) == "Archived")
    assert lepton.job.get(key).status.succeeded == 1


def test_a_job_is_stopped_and_started_again(service: Service, lepton: APIClient) -> None:
    service.script("*", RUNS)
    key = lepton.job.create(job()).metadata.id_
    lepton.job.update(key, {"spec": {"stopped": True}})
    eventually(lambda: state(lepton, key) == "Stopped")
    with refused(400, "no valid field to update"):
        lepton.job.update(key, {"spec": {"stopped": True}})
    lepton.job.update(key, {"spec": {"stopped": False}})
    assert state(lepton, key) == "Running"


def test_logs_are_followed_live_and_asked_for_later(service: Service, lepton: APIClient) -> None:
    service.script("*", RUNS)
    key = lepton.job.create(job()).metadata.id_
    began = time.time_ns() - 10**9
    service.write_log(key, "eins\nzwei ü\n")
    (replica,) = lepton.job.get_replicas(key)
    stream = lepton.job.get_log(key, replica, timeout=5)
    text = next(stream)
    service.write_log(key, "drei\n")
    service.script("*", [("Completed", None)])
    assert text + "".join(stream) == "eins\nzwei ü\ndrei\n"
    until = time.time_ns() + 10**9

    def lines(**query: Any) -> list[str]:
        answer = lepton.log.get_log(name_or_job=key, start=began, end=until, **query)
        return [line for each in answer["data"]["result"] for _, line in each["values"]]

    assert lines(direction="forward") == ["eins", "zwei ü", "drei"] and lines(limit=1) == ["drei"]
    assert lines(direction="forward", limit=2) == ["eins", "zwei ü"] and lines(q="wei") == ["zwei ü"]
    rows = lepton.log.get_log(name_or_job=key, start=began, end=until)["data"]["result"][0]["values"]
    second = int(rows[1][0])
    answer = lepton.log.get_log(name_or_job=key, start=second, end=second + 1)
    assert [line for _, line in answer["data"]["result"][0]["values"]] == ["zwei ü"]
    assert lepton.log.get_log(name_or_job=key)["data"]["result"][0]["stream"] == {"replica": replica.metadata.id_}
    lepton.job.delete(key)
    eventually(lambda: service.jobs == [])
    assert len(lines()) == 3


def test_a_log_that_is_not_collected_has_no_history(service: Service, lepton: APIClient) -> None:
    key = lepton.job.create(job(log=None)).metadata.id_
    service.write_log(key, "gone\n")
    assert lepton.log.get_log(name_or_job=key)["data"]["result"] == []


def test_a_live_log_may_split_letters_and_break_off(service: Service, lepton: APIClient) -> None:
    service.script("*", RUNS)
    key = lepton.job.create(job()).metadata.id_
    (replica,) = lepton.job.get_replicas(key)
    service.write_log(key, "äöü äöü äöü\n")
    service.world.chunk = 1
    with pytest.raises(UnicodeDecodeError):
        list(lepton.job.get_log(key, replica, timeout=2))
    service.world.chunk = 2
    service.fault("GET", "/jobs/*/log", cut=4)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        list(lepton.job.get_log(key, replica, timeout=2))
    service.fault("GET", "/jobs/*/log", cut=4, quiet=True)
    assert "".join(lepton.job.get_log(key, replica, timeout=2)) == "äö"
    service.world.chunk = None
    with pytest.raises(requests.ConnectionError, match="timed out"):
        list(lepton.job.get_log(key, replica, timeout=0.2))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resource_shape": "gpu.9xb9"}, "shape gpu.9xb9 is not available"),
        ({"resource_shape": None}, "shape"),
        ({"affinity": {"allowed_dedicated_node_groups": ["h200-pool"]}}, "node group h200-pool not found"),
        (
            {"resource_shape": "gpu.1xh200", "affinity": {"allowed_dedicated_node_groups": ["cpu-pool-ab12cd34"]}},
            "shape gpu.1xh200 is not available",
        ),
        ({"envs": [{"name": "A", "value_from": {"secret_name_ref": "NONE"}}]}, "secret NONE not found"),
        ({"envs": [{"name": "LEPTON_A", "value": "1"}]}, "LEPTON_A"),
        ({"mounts": [{"from": "node-nfs:none", "mount_path": "/data"}]}, "volume node-nfs:none not found"),
        ({"reservation_config": {"reservation_id": "none"}}, "reservation none not found"),
        ({"queue_config": {"priority_class": "urgent"}}, "priority class urgent"),
        ({"container": {"command": ["true"]}}, "image is required"),
    ],
)
def test_a_job_that_cannot_be_is_refused(
    service: Service, lepton: APIClient, change: dict[str, Any], words: str
) -> None:
    with refused(400, words) as caught:
        lepton.job.create(job(**change))
    assert set(caught.value.response.json()) == {"code", "message"} and service.jobs == []


def test_what_the_sdk_never_sends_is_refused_too(service: Service) -> None:
    headers = {"Authorization": f"Bearer {service.token}"}
    fine: dict[str, Any] = {"resource_shape": "cpu.small", "container": {"image": "i"}}

    def post(path: str, body: object) -> tuple[int, str]:
        answer = requests.post(service.url + path, json=body, headers=headers, timeout=5)
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


def test_a_wrong_token_is_refused(service: Service) -> None:
    stranger = client(service, "another-long-token-zzz")
    with pytest.raises(WorkspaceUnauthorizedError):
        stranger.info()
    with refused(401):
        stranger.job.list_all()
    with refused(401):
        stranger.secret.list_all()


def test_an_image_that_cannot_be_pulled_never_starts(service: Service, lepton: APIClient) -> None:
    key = lepton.job.create(job(image_pull_secrets=["none"])).metadata.id_
    eventually(lambda: state(lepton, key) == "Starting")
    time.sleep(0.3)
    assert state(lepton, key) == "Starting"
    assert "ImagePullBackOff" in {each.reason for each in lepton.job.get_events(key)}
    service.add_event(key, "OOMKilled")
    assert "OOMKilled" in {each.reason for each in lepton.job.get_events(key)}


def test_secrets_never_tell_their_values(service: Service, lepton: APIClient) -> None:
    lepton.secret.create([SecretItem(name="HF", value="hidden"), SecretItem(name="B", value="2")])
    assert {each.name: each.value for each in lepton.secret.list_all()} == {"HF": None, "B": None}
    assert service.secrets == {"HF": "hidden", "B": "2"}
    with refused(409):
        lepton.secret.create([SecretItem(name="HF", value="other")])
    with refused(400, "reserved"):
        lepton.secret.create([SecretItem(name="LEPTON_X", value="1")])
    lepton.secret.delete("HF")
    with refused(404):
        lepton.secret.delete("HF")


def test_a_workspace_tells_what_it_has(both: Service) -> None:
    lepton = client(both)
    info = lepton.info()
    assert (info.workspace_name, info.features.enable_new_deployment_api) == ("ws1", both.world.family == "new")
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


def ask(url: str, path: str, token: str = "an-endpoint-token") -> requests.Response:
    return requests.get(url + path, headers={"Authorization": f"Bearer {token}"}, timeout=5)


def test_an_endpoint_becomes_ready_answers_and_goes(both: Service) -> None:
    lepton = client(both)
    both.served_model = "a-model"
    both.script("proctor-*", [("Starting", None)])
    made = lepton.deployment.create_with_response(endpoint())
    url = made.status.endpoint.external_endpoint
    assert made.status.state.value == "Starting" and ask(url, "/health").status_code == 503
    both.script("proctor-*", [("Ready", None)])
    assert lepton.deployment.get("proctor-x-s").status.state.value == "Ready"
    assert ask(url, "/health", "wrong").status_code == 401
    assert ask(url, "/v1/models").json()["data"][0]["id"] == "a-model"
    body = {"model": "a-model", "messages": [{"role": "user", "content": "hallo"}]}
    headers = {"Authorization": "Bearer an-endpoint-token"}
    chat = requests.post(url + "/v1/chat/completions", json=body, headers=headers, timeout=5).json()
    assert chat["choices"][0]["message"]["content"] == "hallo"
    with refused(409):
        lepton.deployment.create_with_response(endpoint())
    (replica,) = lepton.deployment.get_replicas("proctor-x-s")
    both.write_log("proctor-x-s", "up\n")
    answer = lepton.log.get_log(name_or_deployment="proctor-x-s")
    assert answer["data"]["result"][0]["values"][0][1] == "up"
    assert next(lepton.deployment.get_log("proctor-x-s", replica, timeout=2)) == "up\n"
    assert "Started" in {each.reason for each in lepton.deployment.get_events("proctor-x-s")}
    both.world.endpoints["proctor-x-s"].settle = 0.5
    assert lepton.deployment.delete("proctor-x-s") is True
    assert lepton.deployment.get("proctor-x-s").status.state.value == "Deleting"
    with refused(409):
        lepton.deployment.create_with_response(endpoint())
    eventually(lambda: both.endpoints == [])
    with refused(404):
        lepton.deployment.get("proctor-x-s")
    with pytest.raises(requests.ConnectionError):
        ask(url, "/health")
    lepton.deployment.create_with_response(endpoint())


def scaled(replicas: int) -> LeptonDeployment:
    resources = {"min_replicas": replicas, "max_replicas": max(1, replicas)}
    return LeptonDeployment(spec={"resource_requirement": resources})


def test_an_endpoint_is_scaled_stopped_and_restarted(both: Service) -> None:
    lepton = client(both)
    both.script("*", [("Ready", None)])
    lepton.deployment.create_with_response(endpoint())
    lepton.deployment.update(
        "proctor-x-s", LeptonDeployment(spec={"resource_requirement": {"min_replicas": 2, "max_replicas": 2}})
    )
    assert lepton.deployment.get("proctor-x-s").spec.resource_requirement.min_replicas == 2
    assert len(lepton.deployment.get_replicas("proctor-x-s")) == 2
    with refused(400, "no valid field to update"):
        lepton.deployment.update("proctor-x-s", scaled(2))
    lepton.deployment.stop("proctor-x-s")
    eventually(lambda: lepton.deployment.get("proctor-x-s").status.phase.value == "Stopped")
    assert lepton.deployment.get("proctor-x-s").status.state.value == "Not Ready"
    with refused(400):
        lepton.deployment.restart("proctor-x-s")
    lepton.deployment.update("proctor-x-s", scaled(1))
    assert lepton.deployment.restart("proctor-x-s").status.state.value == "Ready"


def test_only_the_family_of_the_workspace_is_answered(both: Service) -> None:
    wrong, right = ("/endpoints", "/deployments") if both.world.family == "legacy" else ("/deployments", "/endpoints")
    headers = {"Authorization": f"Bearer {both.token}"}
    assert requests.get(both.url + wrong, headers=headers, timeout=5).status_code == 403
    assert requests.get(both.url + right, headers=headers, timeout=5).json() == []
    posted = requests.post(both.url + right, json={"metadata": {"name": "a", "x": 1}}, headers=headers, timeout=5)
    assert posted.status_code == 400 and "unknown field" in posted.json()["message"]


def test_readiness_and_terminations_belong_to_the_legacy_family(both: Service) -> None:
    lepton = client(both)
    both.script("*", [("Error", None)])
    lepton.deployment.create_with_response(endpoint())
    if both.world.family == "new":
        with pytest.raises(NewEndpointAPIUnsupported):
            lepton.deployment.get_readiness("proctor-x-s")
        return
    issues = lepton.deployment.get_readiness("proctor-x-s").root
    assert [each.reason.value for found in issues.values() for each in found] == ["SystemError"]
    assert lepton.deployment.get_termination("proctor-x-s").root == {}


def test_tokens_come_from_secrets_or_the_service(both: Service) -> None:
    lepton = client(both)
    both.script("*", [("Ready", None)])
    reference = [{"value_from": {"token_name_ref": "ENDPOINT"}}]
    with refused(400, "ENDPOINT"):
        lepton.deployment.create_with_response(endpoint(api_tokens=reference))
    both.secrets["ENDPOINT"] = "from-a-secret"
    made = lepton.deployment.create_with_response(endpoint(api_tokens=reference))
    url = made.status.endpoint.external_endpoint
    assert [ask(url, "/health", token).status_code for token in ("from-a-secret", "ENDPOINT")] == [200, 401]
    both.world.secure_defaults = True
    made = lepton.deployment.create_with_response(endpoint("secure", api_tokens=None))
    (token,) = made.spec.api_tokens
    url = made.status.endpoint.external_endpoint
    assert [ask(url, "/health", each).status_code for each in (token.value, "")] == [200, 401]
    assert lepton.deployment.get("secure").spec.api_tokens[0].value == "***"


def test_faults_happen_as_often_as_they_are_told(service: Service, lepton: APIClient) -> None:
    service.fault("GET", "/jobs*", status=429, headers={"Retry-After": "7"})
    with refused(429) as caught:
        lepton.job.list_all()
    assert caught.value.response.headers["Retry-After"] == "7" and lepton.job.list_all() == []
    service.fault("*", "*", status=503, times=2)
    for _ in range(2):
        with pytest.raises(ServerError):
            lepton.secret.list_all()
    assert lepton.secret.list_all() == []
    service.fault("GET", "/jobs*", body=b"<html>")
    with pytest.raises(RuntimeError, match="programming error"):
        lepton.job.list_all()
    service.fault("GET", "/jobs*", delay=0.5)
    lepton._timeout = 0.2
    with pytest.raises(requests.exceptions.ReadTimeout):
        lepton.job.list_all()


def test_an_answer_may_be_lost_after_the_deed(service: Service, lepton: APIClient) -> None:
    service.fault("POST", "/jobs", drop=True)
    with pytest.raises(requests.ConnectionError):
        lepton.job.create(job("never-made"))
    service.fault("POST", "/jobs", drop=True, after=True)
    with pytest.raises(requests.ConnectionError):
        lepton.job.create(job("made"))
    assert [each["metadata"]["name"] for each in service.jobs] == ["made"]
    assert [each.metadata.name for each in lepton.job.list_all(q="made")] == ["made"]


def test_an_endpoint_may_fail_though_it_is_ready(service: Service, lepton: APIClient) -> None:
    service.script("*", [("Ready", None)])
    url = lepton.deployment.create_with_response(endpoint()).status.endpoint.external_endpoint
    service.data_fault("GET", "/health", status=502, times=2)
    assert [ask(url, "/health").status_code for _ in range(3)] == [502, 502, 200]
    assert [(name, each.path, each.status) for name, each in service.data_requests][-1] == (
        "proctor-x-s",
        "/health",
        200,
    )


def test_requests_are_kept_as_they_were_sent(service: Service, lepton: APIClient) -> None:
    body = job("kept", labels={"a": "b"})
    lepton.job.create(body)
    (sent,) = service.requests
    assert (sent.method, sent.path, sent.status) == ("POST", "/jobs", 201)
    assert sent.headers["Authorization"] == f"Bearer {service.token}"
    assert sent.body["metadata"] == {"name": "kept", "labels": {"a": "b"}}
    lepton.job.update(service.jobs[0]["metadata"]["id"], {"spec": {"stopped": True}})
    assert "stopped" not in sent.body["spec"]
    lepton.job.list_all(q="x", page=1, page_size=2)
    assert service.requests[-1].query == {
        "job_query_mode": ["alive_only"],
        "q": ["x"],
        "page": ["1"],
        "page_size": ["2"],
    }


def test_a_workload_can_vanish_and_be_told_a_new_course(service: Service, lepton: APIClient) -> None:
    service.script("*", RUNS)
    key = lepton.job.create(job()).metadata.id_
    service.script("proctor-*", [("Weird", None)])
    assert state(lepton, key) == "UNK"
    service.vanish(key)
    with refused(404):
        lepton.job.get(key)


def test_a_request_takes_no_time(service: Service, lepton: APIClient) -> None:
    lepton.job.create(LeptonJob(**job().model_dump(by_alias=True)))
    began = time.perf_counter()
    with warnings.catch_warnings():
        for _ in range(50):
            lepton.job.list_all(page=1, page_size=50)
    assert (time.perf_counter() - began) / 50 < 0.04
