"""Whole evaluations on the Lepton cloud: real containers, the real SDK, a stand-in for the service in this process."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.machine import PROCTOR
from tests.engine import fake_harness_image, require_image
from tests.flows.stack import Run, Stack, free_port
from tests.flows.test_reattach import killed_everywhere, starts
from tests.flows.test_schedules import runs_of, switched_on
from tests.lepton.service import Service
from tests.waiting import wait_for

pytestmark = pytest.mark.live

SAVE = "import sys; from prefect.blocks.system import Secret; Secret(value=sys.stdin.read()).save('stand-in', overwrite=True)"


@pytest.fixture(params=["legacy", "new"])
def cloud(request: pytest.FixtureRequest, stack: Stack, shared: Path) -> Iterator[Service]:
    """A service that really runs containers; its token lies where teams put it, in a Secret block."""
    with Service(request.param, volumes={"node-nfs:shared": shared}, runner="docker", deletion=0.05) as service:
        command = [sys.executable, "-c", SAVE]
        subprocess.run(command, input=service.token, text=True, env=stack.env, cwd=stack.home, check=True)
        yield service


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """The folder that the volume of the cloud and this machine both see."""
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


def execution(service: Service, shared: Path, **more: Any) -> dict[str, Any]:
    return {
        "type": "lepton",
        "workspace": service.workspace,
        "workspace_url": service.url,
        "token": "secret:stand-in",
        "output_dir": str(shared),
        "results": {"via": "mount", "volume": "node-nfs:shared"},
        "poll_interval": 0.5,
        **more,
    }


def two(service: Service, shared: Path, endpoint: str, script: str, **more: Any) -> dict[str, Any]:
    """Two benchmarks of the fake harness."""
    tasks = [{"name": f"fake.{name}", "container": fake_harness_image()} for name in ("alpha", "beta")]
    return {
        "execution": execution(service, shared, **more),
        "target": {"api_endpoint": {"url": endpoint, "model_id": "fake-model"}},
        "evaluation": {"trust_unlisted": True, "env_vars": {"FAKE_SCRIPT": f"lit:{script}"}, "tasks": tasks},
    }


def nothing_left(service: Service) -> bool:
    return (service.live(), service.endpoints, service.jobs, service.secrets) == ([], [], [], {})


@pytest.mark.parametrize("cloud", ["new"], indirect=True)
def test_a_real_harness_measures_a_real_model_behind_an_endpoint(stack: Stack, cloud: Service, shared: Path) -> None:
    harness, model = require_image("proctor-test/eval:1"), require_image("proctor-test/model:1")
    port = 18000
    here = {"output_dir": "./cloud_results", "results": {"via": "log"}}
    config = {
        "base_dir": str(shared),
        "execution": execution(cloud, shared, endpoint_resource_shape="gpu.1xh200", **here),
        "deployment": {
            "type": "generic",
            "image": model,
            "port": port,
            "command": f"python3 /opt/model/serve.py --port {port} --model-name tiny",
            "served_model_name": "tiny",
        },
        "evaluation": {
            "trust_unlisted": True,
            "nemo_evaluator_config": {"config": {"params": {"limit_samples": 2, "max_new_tokens": 8}}},
            "tasks": [{"name": "mmath_en", "container": harness}, {"name": "mmath_zh", "container": harness}],
        },
    }
    run = stack.start("lepton", config)
    assert run.until(seconds=400) == "Completed", run.message
    assert run.folder.parent == shared / "cloud_results"
    results = json.loads((run.folder / "results.json").read_text())
    assert len(results["benchmarks"]) == 2
    for each in results["benchmarks"]:
        assert each["provenance"]["models_served"] == ["tiny"]
        assert each["scores"]
    assert nothing_left(cloud)
    made = [each for each in cloud.requests if each.method == "POST" and each.path in {"/deployments", "/endpoints"}]
    assert len(made) == 1
    texts = [path.read_bytes() for path in (*run.folder.rglob("*"), *stack.home.glob("*.log")) if path.is_file()]
    assert not any(cloud.token.encode() in text for text in texts)


@pytest.mark.parametrize("cloud", ["new"], indirect=True)
def test_cancelling_leaves_nothing_in_the_workspace(stack: Stack, cloud: Service, shared: Path, endpoint: str) -> None:
    run = stack.start("lepton", two(cloud, shared, endpoint, "time.sleep(300)"))
    wait_for(lambda: run.labels.get("proctor.output_dir") and starts(run.folder)["alpha"] == 1)
    run.cancel()
    wait_for(lambda: nothing_left(cloud), 30)
    assert run.until() == "Cancelled"


@pytest.mark.parametrize("cloud", ["new"], indirect=True)
def test_all_benchmarks_may_share_one_job(stack: Stack, cloud: Service, shared: Path, endpoint: str) -> None:
    settings = two(cloud, shared, endpoint, "pass", split=1, results={"via": "log"})
    run = stack.start("lepton", settings)
    assert run.until() == "Completed", run.message
    results = json.loads((run.folder / "results.json").read_text())["benchmarks"]
    assert len(results) == 2 and all(each["scores"] for each in results)
    assert len([each for each in cloud.requests if (each.method, each.path) == ("POST", "/jobs")]) == 1
    assert nothing_left(cloud)


def fake_server(port: int, life: int = 0) -> dict[str, Any]:
    """The fake harness's model server as a deployment."""
    command = f"fake-server {port} 0 {life}"
    own = {"port": port, "command": command, "served_model_name": "fake-model"}
    return {"type": "generic", "image": fake_harness_image(), **own}


@pytest.mark.parametrize("cloud", ["legacy"], indirect=True)
def test_cancelling_takes_the_endpoint_too(stack: Stack, cloud: Service, shared: Path) -> None:
    settings = two(cloud, shared, "", "time.sleep(300)", endpoint_resource_shape="gpu.1xh200")
    run = stack.start("lepton", {**settings, "target": {}, "deployment": fake_server(free_port())})
    wait_for(lambda: run.labels.get("proctor.output_dir") and starts(run.folder)["alpha"] == 1)
    assert len(cloud.endpoints) == 1
    run.cancel()
    wait_for(lambda: nothing_left(cloud), 30)
    assert run.until() == "Cancelled"


@pytest.mark.parametrize("cloud", ["new"], indirect=True)
def test_a_server_that_dies_ends_the_evaluation_and_leaves_nothing(stack: Stack, cloud: Service, shared: Path) -> None:
    settings = two(cloud, shared, "", "time.sleep(300)", endpoint_resource_shape="gpu.1xh200")
    run = stack.start("lepton", {**settings, "target": {}, "deployment": fake_server(free_port(), life=15)})
    assert run.until() == "Failed"
    assert {each["state_name"] for each in run.benchmarks()} == {"Failed"}
    assert all("server died" in each["state"]["message"] for each in run.benchmarks()), run.benchmarks()
    wait_for(lambda: nothing_left(cloud), 30)


def endpoint_requests(cloud: Service) -> list[tuple[str, str]]:
    """What made an endpoint and what removed one, in order: method and name."""
    asked = [each for each in cloud.requests if each.path.startswith(("/deployments", "/endpoints"))]
    named = [
        (each.method, (each.body or {}).get("metadata", {}).get("name") or each.path.split("/")[-1]) for each in asked
    ]
    return [each for each in named if each[0] in {"POST", "DELETE"}]


@pytest.mark.parametrize("cloud", ["legacy"], indirect=True)
def test_every_benchmark_may_have_a_server_of_its_own(stack: Stack, cloud: Service, shared: Path) -> None:
    """One at a time, for the stand-in's containers share the ports of this machine."""
    own = {"endpoint_resource_shape": "gpu.1xh200", "server_per_benchmark": True, "max_parallel": 1}
    settings = two(cloud, shared, "", "pass", **own)
    run = stack.start("lepton", {**settings, "target": {}, "deployment": fake_server(free_port())})
    assert run.until(seconds=400) == "Completed", run.message
    results = json.loads((run.folder / "results.json").read_text())["benchmarks"]
    assert [each["provenance"]["models_served"] for each in results] == [["fake-model"]] * 2
    (_, first), _, (_, second), _ = made = endpoint_requests(cloud)
    assert made == [("POST", first), ("DELETE", first), ("POST", second), ("DELETE", second)]
    assert first != second
    assert nothing_left(cloud)


def server_log(stack: Stack, benchmark: str) -> str:
    """What `proctor logs --server` shows."""
    command = [PROCTOR, "logs", benchmark, "--server"]
    return subprocess.run(command, env=stack.env, cwd=stack.home, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("cloud", ["new"], indirect=True)
def test_each_of_several_servers_can_be_looked_at_and_cancelling_takes_them_all(
    stack: Stack, cloud: Service, shared: Path
) -> None:
    cloud.script("proctor-*-s", [("Starting", None)])
    own = {"endpoint_resource_shape": "gpu.1xh200", "server_per_benchmark": True}
    settings = two(cloud, shared, "", "time.sleep(300)", **own)
    run = stack.start("lepton", {**settings, "target": {}, "deployment": fake_server(free_port())})
    wait_for(lambda: len(cloud.endpoints) == 2)
    for index, name in enumerate(("alpha", "beta")):
        (endpoint,) = (each for each in cloud.live() if each.endswith(f"-{index}-1-s"))
        cloud.write_log(endpoint, f"the server of {name}\n")
    for name in ("alpha", "beta"):
        wait_for(lambda name=name: server_log(stack, f"{run.id}.fake.{name}") == f"the server of {name}\n")  # type: ignore[misc]
    run.cancel()
    wait_for(lambda: nothing_left(cloud), 30)
    assert run.until() == "Cancelled"


@pytest.mark.parametrize("cloud", ["legacy"], indirect=True)
def test_a_scheduled_run_leaves_no_endpoint(stack: Stack, cloud: Service, shared: Path, tmp_path: Path) -> None:
    settings = two(cloud, shared, "", "pass", endpoint_resource_shape="gpu.1xh200")
    file = tmp_path / "nightly.yaml"
    file.write_text(yaml.safe_dump({**settings, "target": {}, "deployment": fake_server(free_port())}))
    deployment = switched_on(stack, "lepton-nightly", "CANCEL_NEW", {"file": str(file)}, interval=3600)
    try:
        first = wait_for(lambda: runs_of(stack, deployment))[0]
        assert first["auto_scheduled"] is True
        run = Run(stack, first["id"])
        run.hurry()
        assert run.until() == "Completed", run.message
    finally:
        stack.delete(f"/deployments/{deployment}")
    assert len([each for each in cloud.requests if (each.method, each.path) == ("POST", "/deployments")]) == 1
    assert nothing_left(cloud)


AT = ("intent", "claimed", "running", "ended", "scored", "all ended")
"""Boundaries at which something of Lepton's is there; tests/lepton/test_crashes.py dies after every single request."""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("cloud", ["legacy"], indirect=True)
def test_kill_the_engine_while_something_is_in_the_workspace(
    stack: Stack, cloud: Service, shared: Path, endpoint: str
) -> None:
    settings = two(cloud, shared, endpoint, "time.sleep(3)", max_parallel=1)
    assert not killed_everywhere(stack, "lepton", settings, shared, shared, *AT)
    asked = [each.body["metadata"]["name"] for each in cloud.requests if (each.method, each.path) == ("POST", "/jobs")]
    assert len(asked) == len(set(asked)) == 2 * len(AT)
    assert nothing_left(cloud)
