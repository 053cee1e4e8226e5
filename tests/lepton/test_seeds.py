"""The Lepton snippets of the seed documents run: from the YAML as it stands to jobs of the stand-in."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proctor.blocks.job import JobHandle, JobState
from proctor.blocks.lepton.block import LeptonBackend
from proctor.blocks.lepton.render import endpoint_name
from proctor.configs.execution_schema import LeptonExecution
from proctor.configs.load import read_config
from proctor.tasks.plan import Plan, plan
from tests.lepton.login import log_in
from tests.lepton.place import RUNS
from tests.lepton.service import Service
from tests.lepton.stock import GPU, Shape
from tests.seeds.test_seeds import HERE, MODEL, TARGET, TASKS
from tests.waiting import wait_closely


@pytest.fixture
def cloud(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A workspace that has what the documents speak of."""
    log_in(monkeypatch, service)
    for name in ("NGC_API_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, f"value of {name}")
    service.script("proctor-*-[0-9]", RUNS)
    service.world.stock.shapes.append(Shape("gpu.a100-80g", 16, 262144, "A100-80GB", 1, groups=(GPU.id,)))
    yield service


def planned(cloud: Service, folder: Path, kind: str, name: str, *overrides: str) -> tuple[Plan, LeptonBackend]:
    here = [f"++execution.workspace={cloud.workspace}", f"++execution.workspace_url={cloud.url}"]
    config = read_config(HERE / kind, name, [*overrides, *here, f"execution.output_dir={folder}"]).config
    assert isinstance(config.execution, LeptonExecution)
    return plan(config, "0000abcd", datetime.now(UTC)), LeptonBackend(execution=config.execution)


def running(backend: LeptonBackend, found: Plan) -> JobHandle:
    (job,) = found.jobs
    handle = backend.submit([job])[job.name]
    assert isinstance(handle, JobHandle), handle
    wait_closely(lambda: {each.state for each in backend.poll([handle])[handle].steps.values()} == {JobState.RUNNING})
    return handle


def test_jobs_with_a_shape_and_variables(cloud: Service, tmp_path: Path) -> None:
    found, backend = planned(cloud, tmp_path, "snippets", "lepton", *TARGET, *TASKS)
    handle = running(backend, found)
    job = cloud.workload(f"{handle.name}-0")
    assert job.blueprint.shape == "gpu.a100-80g"
    assert sorted(cloud.secrets.values()) == ["value of HF_TOKEN", "value of NGC_API_KEY"]
    backend.cancel([handle])
    assert (cloud.jobs, cloud.secrets) == ([], {})


def test_an_endpoint_that_is_there(cloud: Service, tmp_path: Path) -> None:
    overrides = ["execution=lepton", *MODEL, *TASKS]
    found, backend = planned(cloud, tmp_path, "snippets", "lepton_endpoint", *overrides)
    cloud.served_model = "meta/llama-3.1-8b-instruct"
    spec = {
        "container": {"image": "x", "ports": [{"container_port": 8000}]},
        "resource_requirement": {"resource_shape": "gpu.1xh200", "min_replicas": 1, "max_replicas": 1},
        "api_tokens": [{"value": "its-own-token"}],
    }
    backend.workspace.create_endpoint({"metadata": {"name": "my-llama-deployment"}, "spec": spec})
    cloud.script("my-llama-deployment", [("Ready", None)])
    handle = running(backend, found)
    url = cloud.api_endpoints.gateways["my-llama-deployment"].url
    assert f"url: {url}/v1/completions" in cloud.workload(f"{handle.name}-0").spec["container"]["command"][-1]
    assert "its-own-token" in cloud.secrets.values()
    backend.cancel([handle])
    assert [each["metadata"]["name"] for each in cloud.endpoints] == ["my-llama-deployment"]


def test_a_server_whose_shape_nobody_names(cloud: Service, tmp_path: Path) -> None:
    found, backend = planned(cloud, tmp_path, "examples", "lepton_vllm_llama_3_1_8b_instruct")
    (job,) = found.jobs
    assert job.server
    cloud.served_model = job.server.served_model
    assert len([each for each in found.notes if "smallest shape with accelerators" in each]) == 1
    assert "smallest-with-accelerators stands for that shape of the workspace" in backend.render(job)
    handle = running(backend, found)
    assert cloud.workload(endpoint_name(handle)).blueprint.shape == "gpu.1xh200"
    assert sorted(each["metadata"]["name"] for each in cloud.jobs) == [f"{handle.name}-{index}" for index in range(3)]
    backend.cancel([handle])
    assert (cloud.jobs, cloud.endpoints, cloud.secrets) == ([], [], {})
