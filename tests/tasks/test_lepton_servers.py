"""Model servers on Lepton: where their checkpoints are."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from proctor.blocks.job import Mount
from proctor.configs.errors import ConfigError
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.plan import plan


def planned(**deployment: Any) -> Any:
    config = EvaluationConfig.model_validate(
        {
            "execution": {"type": "lepton", "output_dir": "/results"},
            "deployment": {"type": "vllm", **deployment},
            "evaluation": {"tasks": [{"name": "hellaswag"}]},
        }
    )
    return plan(config, "0a1b2c3d", datetime.now(UTC)).jobs[0].server


def test_a_checkpoint_may_be_a_model_of_the_hub() -> None:
    server = planned(checkpoint_path="meta-llama/Llama-3.1-8B-Instruct")
    assert server.command.startswith("vllm serve meta-llama/Llama-3.1-8B-Instruct ")
    assert server.container.mounts == ()


def test_folders_name_their_volume() -> None:
    server = planned(
        checkpoint_path="node-nfs:shared:/models/llama",
        cache_path="node-local:/cache",
        mounts=["node-nfs:shared:/data:/data:ro"],
    )
    assert server.command.startswith("vllm serve /checkpoint ")
    assert server.container.mounts == (
        Mount("node-nfs:shared:/models/llama", "/checkpoint", read_only=True),
        Mount("node-local:/cache", "/cache"),
        Mount("node-nfs:shared:/data", "/data", read_only=True),
    )


@pytest.mark.parametrize("mount", ["node-nfs:shared:/data", "node-nfs:shared:data:/data", "/a:/b:/c"])
def test_what_is_no_mount(mount: str) -> None:
    with pytest.raises(ConfigError, match="is no mount"):
        planned(checkpoint_path="a/b", mounts=[mount])


def test_a_checkpoint_under_a_mount_is_where_the_container_sees_it(tmp_path: Path) -> None:
    server = planned(checkpoint_path="/models/llama", mounts=["node-nfs:shared:/team:/models"])
    assert server.container.mounts[0] == Mount("node-nfs:shared:/team/llama", "/checkpoint", read_only=True)
