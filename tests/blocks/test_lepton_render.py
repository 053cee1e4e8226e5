"""The documents that Lepton would be sent."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proctor.blocks.job import Container, EnvVar, JobSpec, Mount, Server, Step
from proctor.blocks.lepton.render import render, secret_of
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import LeptonExecution
from proctor.configs.lepton_fields import LeptonEndpoint, LeptonMount
from tests.blocks.shellcheck import check_with_shellcheck

CONTAINER = Container(
    image="nvcr.io/nvidia/eval@sha256:ff",
    env=(EnvVar("KEY", "host", "KEY"), EnvVar("TEXT", "lit", "it's"), EnvVar("HF_TOKEN", "runtime", "HF")),
)
STEPS = tuple(
    Step(f"{name}.{index}", f"h.{name}", CONTAINER, "url: lepton://server/v1\n", "lepton://server/v1/completions")
    for index, name in enumerate(("one", "two"))
)
SERVER = Server("vllm", Container(image="vllm/vllm-openai:latest"), "vllm serve m", 8000, "m")
JOB = JobSpec("proctor-0a1b2c3d-abcdef-0-1", "0a1b2c3d", "./results/e", STEPS, SERVER)
EXECUTION = LeptonExecution(
    resource_shape="cpu.small", endpoint_resource_shape="gpu.1xh200", node_group="cpus", priority="mid-4000"
)


def documents(execution: LeptonExecution = EXECUTION, job: JobSpec = JOB) -> list[dict[str, Any]]:
    text = re.sub(r"^#.*$", "\0", render(job, execution), flags=re.MULTILINE)
    return [json.loads(part) for part in text.split("\0") if part.strip()]


def test_an_endpoint_and_a_job_for_each_benchmark() -> None:
    endpoint, *jobs = documents()
    assert endpoint["spec"]["resource_requirement"]["resource_shape"] == "gpu.1xh200"
    assert endpoint["spec"]["container"]["command"] == ["/bin/sh", "-c", "vllm serve m"]
    assert [job["metadata"]["labels"]["proctor.step"] for job in jobs] == ["one.0", "two.1"]
    for job in jobs:
        assert job["spec"]["max_failure_retry"] == job["spec"]["max_job_failure_retry"] == 0
        assert job["spec"]["affinity"] == {"allowed_dedicated_node_groups": ["cpus"]}
        assert job["spec"]["queue_config"] == {"priority_class": "mid-4000"}


def test_places_and_sizes_are_passed_on() -> None:
    models = LeptonMount.model_validate({"from": "node-nfs:models", "mount_path": "/models"})
    execution = EXECUTION.model_copy(
        update={
            "mounts": [models],
            "shared_memory_size": 4096,
            "reservation": "reservation-7x2k",
            "image_pull_secrets": ["lepton-nvidia"],
        }
    )
    endpoint, job, _ = documents(execution)
    assert endpoint["spec"]["resource_requirement"]["shared_memory_size"] == job["spec"]["shared_memory_size"] == 4096
    for document in (endpoint, job):
        assert document["spec"]["mounts"][0] == {"from": "node-nfs:models", "path": "/", "mount_path": "/models"}
        assert document["spec"]["reservation_config"] == {"reservation_id": "reservation-7x2k"}
        assert document["spec"]["image_pull_secrets"] == ["lepton-nvidia"]


@pytest.mark.slow
def test_the_sdk_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, proctor.blocks.lepton.block; sys.exit('leptonai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_the_endpoint_has_for_itself() -> None:
    own = {"priority": "high-9000", "shared_memory_size": 65536, "reservation": "theirs"}
    execution = EXECUTION.model_copy(update={"endpoint": LeptonEndpoint.model_validate(own), "shared_memory_size": 1})
    endpoint, job, _ = documents(execution)
    assert endpoint["spec"]["queue_config"]["priority_class"] == "high-9000"
    assert job["spec"]["queue_config"]["priority_class"] == "mid-4000"
    assert endpoint["spec"]["resource_requirement"]["shared_memory_size"] == 65536
    assert job["spec"]["shared_memory_size"] == 1
    assert endpoint["spec"]["reservation_config"] == {"reservation_id": "theirs"}
    assert "reservation_config" not in job["spec"]


def test_a_reservation_of_one_node_group_is_not_asked_for_in_another() -> None:
    execution = EXECUTION.model_copy(update={"reservation": "r", "endpoint_node_group": "gpus"})
    endpoint, job, _ = documents(execution)
    assert "reservation_config" not in endpoint["spec"]
    assert job["spec"]["reservation_config"] == {"reservation_id": "r"}


@pytest.mark.parametrize(
    ("server", "command"),
    [
        (replace(SERVER, kind="nim", command=None), None),
        (replace(SERVER, pre_cmd="export A=1"), "export A=1\nvllm serve m"),
        (replace(SERVER, kind="sglang", command="python3 -m sglang"), "python3 -m sglang"),
    ],
)
def test_every_server_starts_as_it_should(server: Server, command: str | None) -> None:
    container = documents(EXECUTION, replace(JOB, server=server))[0]["spec"]["container"]
    assert container.get("command") == (["/bin/sh", "-c", command] if command else None)


def test_names_fit_what_lepton_accepts() -> None:
    for document in documents():
        name = document["metadata"]["name"]
        assert re.fullmatch(r"[a-z][a-z0-9-]{0,34}[a-z0-9]", name)


def test_the_benchmarks_ask_the_endpoint_of_the_evaluation() -> None:
    endpoint, job, _ = documents()
    script = job["spec"]["container"]["command"][-1]
    assert f"url: lepton://{endpoint['metadata']['name']}/v1" in script
    assert f"MODELS_URL=lepton://{endpoint['metadata']['name']}/v1/models" in script
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def test_variables_are_texts_references_or_names() -> None:
    envs = {each["name"]: each for each in documents()[1]["spec"]["envs"]}
    assert envs["TEXT"]["value"] == "it's"
    assert envs["HF_TOKEN"]["value_from"] == {"secret_name_ref": "HF"}
    secret = secret_of(JOB, CONTAINER.env[0])
    assert envs["KEY"]["value_from"] == {"secret_name_ref": secret}
    assert f"{secret}, host:KEY" in render(JOB, EXECUTION)
    assert envs["PROCTOR_JOB"]["value"] == JOB.name


def test_variables_of_one_name_keep_their_own_values() -> None:
    other = replace(STEPS[1], container=Container(image="i", env=(EnvVar("KEY", "host", "OTHER"),)))
    job = replace(JOB, steps=(STEPS[0], other))
    first, second = (each["spec"]["envs"] for each in documents(EXECUTION, job)[1:])
    refs = {
        next(env["value_from"]["secret_name_ref"] for env in envs if env["name"] == "KEY") for envs in (first, second)
    }
    assert len(refs) == 2
    shown = render(job, EXECUTION)
    assert "host:OTHER" in shown and all(ref in shown for ref in refs)


def mounted(source: str, target: str = "/checkpoint", read_only: bool = True) -> JobSpec:
    container = Container(image="i", mounts=(Mount(source, target, read_only),))
    return replace(JOB, server=replace(SERVER, container=container))


MODELS = LeptonMount.model_validate({"from": "node-nfs:fs", "path": "/team", "mount_path": "/models"})


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("node-nfs:shared:/m/llama", ("node-nfs:shared", "/m/llama")),
        ("node-local:/m", ("node-local", "/m")),
        ("/models/llama", ("node-nfs:fs", "/team/llama")),
    ],
)
def test_a_folder_of_a_volume_is_mounted(source: str, place: tuple[str, str]) -> None:
    endpoint = documents(EXECUTION.model_copy(update={"mounts": [MODELS]}), mounted(source))[0]
    expected = {"from": place[0], "path": place[1], "mount_path": "/checkpoint", "mount_options": {"read_only": True}}
    assert endpoint["spec"]["mounts"][1:] == [expected]


def test_the_data_of_a_benchmark_are_mounted_into_its_job() -> None:
    data = Container(image="i", mounts=(Mount("node-nfs:shared:/data", "/datasets"),))
    job = documents(EXECUTION, replace(JOB, steps=(replace(STEPS[0], container=data),)))[1]
    assert job["spec"]["mounts"] == [{"from": "node-nfs:shared", "path": "/data", "mount_path": "/datasets"}]


@pytest.mark.parametrize("source", ["/home/ada/llama", "./llama", "shared:/m", "/models-2/llama"])
def test_a_folder_of_no_volume_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match="lies on no volume of Lepton; write its volume before it"):
        render(mounted(source), EXECUTION.model_copy(update={"mounts": [MODELS]}))


@pytest.mark.live
@pytest.mark.parametrize("split", [None, 1])
def test_shellcheck_finds_nothing_in_a_job(split: int | None, tmp_path: Path) -> None:
    _, job, *_ = documents(EXECUTION.model_copy(update={"split": split}))
    script = job["spec"]["container"]["command"][2]
    check_with_shellcheck("job.sh", script, tmp_path, "sh", "SC2034,SC2317,SC2329")
