"""The real SDK, talking to a stand-in."""

from typing import Any

import pytest
from leptonai.api.v2 import APIClient, ClientError
from leptonai.api.v2.types.deployment import LeptonDeployment
from leptonai.api.v2.types.job import LeptonJob

from tests.lepton.service import Service

IMAGE = "proctor-test/base:1"


def client(service: Service, token: str | None = None) -> APIClient:
    """A client that no proxy and no ~/.netrc of this machine gets in the way of."""
    made = APIClient(workspace_id=service.workspace, auth_token=token or service.token, url=service.url)
    made._session.trust_env = False
    made._timeout = 10
    return made


def job(name: str = "proctor-x-0", command: str = "true", **spec: Any) -> LeptonJob:
    """A job of one shell line."""
    labels = spec.pop("labels", None)
    body = {"resource_shape": "cpu.small", "container": {"image": IMAGE, "command": ["sh", "-c", command]}}
    body |= {"log": {"enable_collection": True}}
    return LeptonJob(metadata={"name": name, "labels": labels}, spec=body | spec)


def endpoint(name: str = "proctor-x-s", command: str = "true", port: int = 8000, **spec: Any) -> LeptonDeployment:
    """An endpoint with one token."""
    container = {"image": IMAGE, "ports": [{"container_port": port}], "command": ["sh", "-c", command]}
    resources = {"resource_shape": "gpu.1xh200", "min_replicas": 1, "max_replicas": 1}
    body = {"container": container, "resource_requirement": resources, "log": {"enable_collection": True}}
    body |= {"api_tokens": [{"value": "an-endpoint-token"}]}
    return LeptonDeployment(metadata={"name": name}, spec=body | spec)


def refused(status: int, words: str = "") -> Any:
    """A context in which the SDK raises for this status and these words."""
    return pytest.raises(ClientError, match=f"{status}.*{words}")


def state(lepton: APIClient, key: str) -> str:
    """A job's state."""
    return str(lepton.job.get(key).status.state.value)
