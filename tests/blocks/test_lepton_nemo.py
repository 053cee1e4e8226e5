"""NeMo Evaluator's Lepton keys, each followed to the document that Lepton is sent."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from proctor.blocks.lepton.render import render
from proctor.configs.execution_schema import LeptonExecution
from proctor.configs.load import Loaded, read_config
from proctor.tasks.plan import plan

CONFIG = """\
defaults: [{execution: lepton/default}, {deployment: vllm}, _self_]
execution:
  output_dir: ./out
  evaluation_tasks: {resource_shape: cpu.large, timeout: 3600, use_shared_storage: true}
  lepton_platform:
    deployment:
      node_group: gpus
      endpoint_readiness_timeout: 1200
      platform_defaults:
        enable_rdma: false
        log: {enable_collection: true}
        metrics: {disable_pulling_from_replica: true}
        image_pull_secrets: [of-the-server]
        queue_config: {priority_class: mid-4000, can_be_preempted: false}
        user_security_context: {privileged: true}
        health: {liveness: {initial_delay_seconds: 600}}
    tasks:
      node_group: cpus
      env_vars: {PLAIN: text, TOKEN: {value_from: {secret_name_ref: HF}}}
      mounts: [{from: "node-nfs:fs", path: /a, mount_path: /workspace}]
      image_pull_secrets: [of-the-tasks]
deployment:
  checkpoint_path: meta-llama/Llama-3.1-8B-Instruct
  image: registry.example.com/vllm.openai:v0.9
  lepton_config:
    resource_shape: gpu.8xh100
    min_replicas: 1
    max_replicas: 4
    auto_scaler: {scale_down: {no_traffic_timeout: 3600}, target_throughput: {qpm: 2.5}}
    envs: {SERVER_ONLY: "1"}
    mounts: {enabled: true, cache_path: "/cache/{{MODEL_CACHE_NAME}}", mount_path: /root/.cache}
    api_tokens: [{value: x}]
target: {api_endpoint: {model_id: m}}
evaluation: [hellaswag]
"""


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    (tmp_path / "n.yaml").write_text(CONFIG)
    return read_config(tmp_path, "n")


@pytest.fixture
def documents(loaded: Loaded) -> tuple[dict[str, Any], dict[str, Any]]:
    """The specs of the endpoint and of the job."""
    execution = loaded.config.execution
    assert isinstance(execution, LeptonExecution)
    (job,) = plan(loaded.config, "0a1b2c3d", datetime.now(UTC)).jobs
    assert job.server and job.server.ready_timeout == 1200
    text = re.sub(r"^#.*$", "\0", render(job, execution), flags=re.MULTILINE)
    endpoint, step = (json.loads(part)["spec"] for part in text.split("\0") if part.strip())
    return endpoint, step


def test_the_endpoint_is_what_they_say(documents: tuple[dict[str, Any], dict[str, Any]]) -> None:
    spec, _ = documents
    assert spec["resource_requirement"] == {
        "resource_shape": "gpu.8xh100",
        "affinity": {"allowed_dedicated_node_groups": ["gpus"]},
        "min_replicas": 1,
        "max_replicas": 4,
    }
    assert "vllm serve meta-llama/Llama-3.1-8B-Instruct " in spec["container"]["command"][-1]
    assert spec["auto_scaler"]["target_throughput"] == {"qpm": 2.5}
    assert spec["auto_scaler"]["scale_down"]["no_traffic_timeout"] > 86400, "it stays up until the end"
    assert spec["health"] == {"liveness": {"initial_delay_seconds": 600}}
    assert spec["user_security_context"] == {"privileged": True}
    assert spec["queue_config"] == {"priority_class": "mid-4000", "can_be_preempted": False}
    assert spec["image_pull_secrets"] == ["of-the-server"]
    assert spec["mounts"][1] == {"from": "node-nfs:fs", "path": "/cache/vllm-openai-v0-9", "mount_path": "/root/.cache"}
    assert {each["name"] for each in spec["envs"]} & {"SERVER_ONLY", "PLAIN", "TOKEN"} == {"SERVER_ONLY"}


def test_the_jobs_are_what_they_say(documents: tuple[dict[str, Any], dict[str, Any]]) -> None:
    _, spec = documents
    assert (spec["resource_shape"], spec["affinity"]) == ("cpu.large", {"allowed_dedicated_node_groups": ["cpus"]})
    assert spec["image_pull_secrets"] == ["of-the-tasks"]
    assert spec["mounts"] == [{"from": "node-nfs:fs", "path": "/a", "mount_path": "/workspace"}]
    envs = {each["name"]: each for each in spec["envs"]}
    assert envs["PLAIN"]["value"] == "text" and envs["TOKEN"]["value_from"] == {"secret_name_ref": "HF"}
    assert "SERVER_ONLY" not in envs and "queue_config" not in spec


def test_what_is_left_out_is_told_and_no_more(loaded: Loaded) -> None:
    told = {note.partition(" is not used: ")[0]: note for note in loaded.notes}
    assert set(told) == {
        "execution.evaluation_tasks",
        "execution.lepton_platform",
        "execution.lepton_platform.deployment.platform_defaults.log",
        "execution.lepton_platform.deployment.platform_defaults.enable_rdma",
        "deployment.lepton_config.auto_scaler",
        "deployment.lepton_config.api_tokens",
    }
    assert "stays up until its evaluation has ended" in told["deployment.lepton_config.auto_scaler"]
