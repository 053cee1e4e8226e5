"""The stand-in's endpoints in service families, driven through the unmodified SDK."""

import pytest
import requests
from leptonai.api.v2 import APIClient
from leptonai.api.v2.endpoint import NewEndpointAPIUnsupported
from leptonai.api.v2.types.deployment import LeptonDeployment

from tests.lepton.sdk import client, endpoint, refused
from tests.lepton.service import Service
from tests.waiting import wait_closely

RUNS: list[tuple[str, float | None]] = [("Running", None)]


def ask(url: str, path: str, token: str = "an-endpoint-token") -> requests.Response:
    return requests.get(url + path, headers={"Authorization": f"Bearer {token}"}, timeout=5)


def test_an_endpoint_becomes_ready_answers_and_goes(service: Service) -> None:
    lepton = client(service)
    service.served_model = "a-model"
    service.script("proctor-*", [("Starting", None)])
    made = lepton.deployment.create_with_response(endpoint())
    url = made.status.endpoint.external_endpoint
    assert made.status.state.value == "Starting" and ask(url, "/health").status_code == 503
    service.script("proctor-*", [("Ready", None)])
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
    service.write_log("proctor-x-s", "up\n")
    answer = lepton.log.get_log(name_or_deployment="proctor-x-s")
    assert answer["data"]["result"][0]["values"][0][1] == "up"
    assert next(lepton.deployment.get_log("proctor-x-s", replica, timeout=2)) == "up\n"
    assert "Started" in {each.reason for each in lepton.deployment.get_events("proctor-x-s")}
    service.world.endpoints["proctor-x-s"].settle = 3600
    assert lepton.deployment.delete("proctor-x-s") is True
    assert lepton.deployment.get("proctor-x-s").status.state.value == "Deleting"
    with refused(409):
        lepton.deployment.create_with_response(endpoint())
    service.remove_at_once()
    wait_closely(lambda: service.endpoints == [])
    with refused(404):
        lepton.deployment.get("proctor-x-s")
    with pytest.raises(requests.ConnectionError):
        ask(url, "/health")
    lepton.deployment.create_with_response(endpoint())


def scaled(replicas: int) -> LeptonDeployment:
    resources = {"min_replicas": replicas, "max_replicas": max(1, replicas)}
    return LeptonDeployment(spec={"resource_requirement": resources})


def test_an_endpoint_is_scaled_stopped_and_restarted(service: Service) -> None:
    lepton = client(service)
    service.script("*", [("Ready", None)])
    lepton.deployment.create_with_response(endpoint())
    lepton.deployment.update(
        "proctor-x-s", LeptonDeployment(spec={"resource_requirement": {"min_replicas": 2, "max_replicas": 2}})
    )
    assert lepton.deployment.get("proctor-x-s").spec.resource_requirement.min_replicas == 2
    assert len(lepton.deployment.get_replicas("proctor-x-s")) == 2
    with refused(400, "no valid field to update"):
        lepton.deployment.update("proctor-x-s", scaled(2))
    lepton.deployment.stop("proctor-x-s")
    wait_closely(lambda: lepton.deployment.get("proctor-x-s").status.phase.value == "Stopped")
    assert lepton.deployment.get("proctor-x-s").status.state.value == "Not Ready"
    with refused(400):
        lepton.deployment.restart("proctor-x-s")
    lepton.deployment.update("proctor-x-s", scaled(1))
    assert lepton.deployment.restart("proctor-x-s").status.state.value == "Ready"


def test_only_the_family_of_the_workspace_is_answered(service: Service) -> None:
    wrong, right = (
        ("/endpoints", "/deployments") if service.world.family == "legacy" else ("/deployments", "/endpoints")
    )
    headers = {"Authorization": f"Bearer {service.token}"}
    assert requests.get(service.url + wrong, headers=headers, timeout=5).status_code == 403
    assert requests.get(service.url + right, headers=headers, timeout=5).json() == []
    posted = requests.post(service.url + right, json={"metadata": {"name": "a", "x": 1}}, headers=headers, timeout=5)
    assert posted.status_code == 400 and "unknown field" in posted.json()["message"]


def test_readiness_and_terminations_belong_to_the_legacy_family(service: Service) -> None:
    lepton = client(service)
    service.script("*", [("Error", None)])
    lepton.deployment.create_with_response(endpoint())
    if service.world.family == "new":
        with pytest.raises(NewEndpointAPIUnsupported):
            lepton.deployment.get_readiness("proctor-x-s")
        return
    issues = lepton.deployment.get_readiness("proctor-x-s").root
    assert [each.reason.value for found in issues.values() for each in found] == ["SystemError"]
    assert lepton.deployment.get_termination("proctor-x-s").root == {}


def test_tokens_come_from_secrets_or_the_service(service: Service) -> None:
    lepton = client(service)
    service.script("*", [("Ready", None)])
    reference = [{"value_from": {"token_name_ref": "ENDPOINT"}}]
    with refused(400, "ENDPOINT"):
        lepton.deployment.create_with_response(endpoint(api_tokens=reference))
    service.secrets["ENDPOINT"] = "from-a-secret"
    made = lepton.deployment.create_with_response(endpoint(api_tokens=reference))
    url = made.status.endpoint.external_endpoint
    assert [ask(url, "/health", token).status_code for token in ("from-a-secret", "ENDPOINT")] == [200, 401]
    service.world.secure_defaults = True
    made = lepton.deployment.create_with_response(endpoint("secure", api_tokens=None))
    (token,) = made.spec.api_tokens
    url = made.status.endpoint.external_endpoint
    assert [ask(url, "/health", each).status_code for each in (token.value, "")] == [200, 401]
    assert lepton.deployment.get("secure").spec.api_tokens[0].value == "***"


def test_an_endpoint_may_fail_though_it_is_ready(legacy: Service, lepton: APIClient) -> None:
    legacy.script("*", [("Ready", None)])
    url = lepton.deployment.create_with_response(endpoint()).status.endpoint.external_endpoint
    legacy.data_fault("GET", "/health", status=502, times=2)
    assert [ask(url, "/health").status_code for _ in range(3)] == [502, 502, 200]
    assert [(name, each.path, each.status) for name, each in legacy.data_requests][-1] == (
        "proctor-x-s",
        "/health",
        200,
    )
