"""The stand-in's containers: what a job's command does is what the service says."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from leptonai.api.v2 import APIClient
from leptonai.api.v2.types.deployment import LeptonDeployment

from tests.engine import engine, require_image
from tests.flows.stack import free_port
from tests.lepton.containers import LABEL
from tests.lepton.sdk import client, endpoint, job
from tests.lepton.service import Service
from tests.waiting import wait_closely

pytestmark = pytest.mark.live

SERVER = """exec python3 -u -c '
import http.server, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path in ("/health", "/v1/models") else 404)
        self.end_headers()
        self.wfile.write((self.headers.get("X-Mark") or "here").encode())
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.end_headers()
        self.wfile.write(body[::-1])
print("up")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
' """


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    require_image("proctor-test/base:1")
    with Service(runner="docker", volumes={"node-nfs:shared": tmp_path}) as found:
        yield found
    assert (
        engine().containers.list(all=True, ignore_removed=True, filters={"label": f"{LABEL}={found.world.engine.mark}"})
        == []
    )


@pytest.fixture
def lepton(service: Service) -> APIClient:
    return client(service)


def ended(lepton: APIClient, key: str) -> str:
    wait_closely(lambda: lepton.job.get(key).status.state.value in {"Completed", "Failed", "Stopped"})
    return str(lepton.job.get(key).status.state.value)


def lines(lepton: APIClient, key: str) -> list[str]:
    answer = lepton.log.get_log(name_or_job=key, start=1, end=time.time_ns() + 10**9, direction="forward")
    return [line for each in answer["data"]["result"] for _, line in each["values"]]


def test_a_job_runs_with_its_variables_mounts_and_log(service: Service, lepton: APIClient, tmp_path: Path) -> None:
    service.secrets["TOKEN"] = "a secret value"
    command = 'echo "$A, $B, $LEPTON_JOB_NAME"; echo oops >&2; cat /in/given; echo result >/out/file; printf end'
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "given").write_text("read\n")
    envs = [{"name": "A", "value": "it's $x"}, {"name": "B", "value_from": {"secret_name_ref": "TOKEN"}}]
    mounts = [
        {"from": "node-nfs:shared", "path": "/made/by the service", "mount_path": "/out"},
        {"from": "node-nfs:shared", "path": "in", "mount_path": "/in", "mount_options": {"read_only": True}},
    ]
    key = lepton.job.create(job(command=command, envs=envs, mounts=mounts)).metadata.id_
    assert ended(lepton, key) == "Completed"
    assert (tmp_path / "made" / "by the service" / "file").read_text() == "result\n"
    assert sorted(lines(lepton, key)) == sorted([f"it's $x, a secret value, {key}", "oops", "read", "end"])


def test_the_exit_code_decides(service: Service, lepton: APIClient) -> None:
    key = lepton.job.create(job(command="exit 3")).metadata.id_
    missing = lepton.job.create(job(container={"image": "proctor-test/base:1", "command": ["/no/such"]})).metadata.id_
    assert ended(lepton, key) == ended(lepton, missing) == "Failed"
    assert (lepton.job.get(key).status.failed, lepton.job.get(key).status.succeeded) == (1, 0)


def test_a_killed_container_is_a_failed_job(service: Service, lepton: APIClient) -> None:
    key = lepton.job.create(job(command="echo on; sleep 60")).metadata.id_
    wait_closely(lambda: lines(lepton, key) == ["on"])
    assert service.live() == ["proctor-x-0"]
    service.kill("proctor-x-0")
    assert ended(lepton, key) == "Failed"
    wait_closely(lambda: service.live() == [])


def test_a_missing_image_is_an_event(service: Service, lepton: APIClient) -> None:
    key = lepton.job.create(job(container={"image": "proctor-test/none:9", "command": ["true"]})).metadata.id_
    wait_closely(lambda: "ImagePullBackOff" in {each.reason for each in lepton.job.get_events(key)})
    assert lepton.job.get(key).status.state.value == "Starting"


def test_stopping_and_deleting_end_the_container(service: Service, lepton: APIClient) -> None:
    command = "trap 'echo asked; exit 0' TERM; echo on; while :; do sleep 0.1; done"
    first, second = (lepton.job.create(job(command=command)).metadata.id_ for _ in range(2))
    for key in (first, second):
        wait_closely(lambda key=key: lines(lepton, key) == ["on"])  # type: ignore[misc]
    lepton.job.update(first, {"spec": {"stopped": True}})
    lepton.job.delete(second)
    assert ended(lepton, first) == "Stopped" and lines(lepton, first) == ["on", "asked"]
    wait_closely(lambda: len(service.jobs) == 1)
    assert lines(lepton, second) == ["on", "asked"]
    lepton.job.update(first, {"spec": {"stopped": False}})
    wait_closely(lambda: lines(lepton, first) == ["on", "asked", "on"])


def test_a_live_log_is_followed_while_it_is_written(service: Service, lepton: APIClient, tmp_path: Path) -> None:
    mounts = [{"from": "node-nfs:shared", "path": "/", "mount_path": "/in"}]
    command = "echo one; until [ -e /in/go ]; do sleep 0.1; done; echo two"
    key = lepton.job.create(job(command=command, mounts=mounts)).metadata.id_
    wait_closely(lambda: lines(lepton, key) == ["one"])
    (replica,) = lepton.job.get_replicas(key)
    followed = iter(lepton.job.get_log(key, replica, timeout=60))
    said = next(followed)
    (tmp_path / "go").touch()
    assert said + "".join(followed) == "one\ntwo\n"


@pytest.mark.parametrize("family", ["legacy", "new"])
def test_an_endpoint_serves_what_its_container_serves(service: Service, family: str) -> None:
    service.world.family = family
    lepton, port = client(service), free_port()
    made = lepton.deployment.create_with_response(endpoint(command=f"sleep 0.5; {SERVER} {port}", port=port))
    url, headers = made.status.endpoint.external_endpoint, {"Authorization": "Bearer an-endpoint-token", "X-Mark": "m"}
    assert requests.get(f"{url}/health", timeout=5).status_code == 401
    assert requests.get(f"{url}/health", headers=headers, timeout=5).status_code == 503
    wait_closely(lambda: lepton.deployment.get("proctor-x-s").status.state.value == "Ready")
    assert requests.get(f"{url}/v1/models?a=b", headers=headers, timeout=5).status_code == 404
    assert requests.get(f"{url}/v1/models", headers=headers, timeout=5).text == "m"
    answer = requests.post(f"{url}/v1/completions", data=b"abc", headers=headers, timeout=5)
    assert (answer.status_code, answer.text) == (201, "cba")
    lepton.deployment.restart("proctor-x-s")
    wait_closely(lambda: lepton.deployment.get("proctor-x-s").status.state.value == "Ready")
    resources = {"min_replicas": 0, "max_replicas": 1}
    lepton.deployment.update("proctor-x-s", LeptonDeployment(spec={"resource_requirement": resources}))
    wait_closely(lambda: lepton.deployment.get("proctor-x-s").status.phase.value == "Stopped")
    assert requests.get(f"{url}/health", headers=headers, timeout=5).status_code == 503
    lepton.deployment.delete("proctor-x-s")
    wait_closely(lambda: service.endpoints == [])


def test_an_endpoint_whose_server_dies_is_in_error(service: Service, lepton: APIClient) -> None:
    lepton.deployment.create_with_response(endpoint(command="echo no memory; exit 5", port=free_port()))
    wait_closely(lambda: lepton.deployment.get("proctor-x-s").status.state.value == "Error")
    (deaths,) = lepton.deployment.get_termination("proctor-x-s").root.values()
    assert [each.exit_code for each in deaths] == [5]
    assert lepton.log.get_log(name_or_deployment="proctor-x-s")["data"]["result"][0]["values"][0][1] == "no memory"
