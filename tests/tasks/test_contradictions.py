"""A value that is not used is said to be."""

from typing import Any

import pytest

from proctor.configs.schema import EvaluationConfig
from proctor.tasks.contradictions import contradictions

ENDPOINT = {"url": "http://h/v1/chat/completions", "model_id": "asked"}
VLLM = {"type": "vllm", "hf_model_handle": "org/m"}


def said(**sections: Any) -> list[str]:
    tasks = {"tasks": [{"name": "mmath_en"}]}
    return list(contradictions(EvaluationConfig.model_validate({"evaluation": tasks, **sections})))


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"deployment": VLLM, "target": {"api_endpoint": ENDPOINT}}, "url http://h/v1/chat/completions is not used"),
        (
            {"deployment": {**VLLM, "served_model_name": "served"}, "target": {"api_endpoint": {"model_id": "asked"}}},
            "model_id asked is not used: the server calls its model served",
        ),
        ({"deployment": {**VLLM, "checkpoint_path": "/m"}}, "checkpoint_path /m is not used"),
        ({"execution": {"type": "process", "max_parallel": 4}}, "mode: sequential is not used"),
        ({"execution": {"type": "lepton", "num_replicas": 2}}, "execution.num_replicas is not used"),
        ({"execution": {"type": "slurm", "gres": "gpu:8", "gpus_per_node": 8}}, "both count"),
        ({"execution": {"type": "lepton", "split": 2, "max_parallel": 4}}, "max_parallel 4 is not used"),
        (
            {"execution": {"type": "slurm", "split": 2, "server_per_benchmark": True}, "deployment": VLLM},
            "split 2 is not used",
        ),
        (
            {"execution": {"type": "lepton", "stall_timeout": 1800}, "target": {"api_endpoint": ENDPOINT}},
            "stall_timeout is not used",
        ),
    ],
)
def test_each_is_told(sections: dict[str, Any], words: str) -> None:
    (sentence,) = said(**sections)
    assert words in sentence


def test_a_plain_config_has_none() -> None:
    assert said(target={"api_endpoint": ENDPOINT}) == []
    mounted = {"type": "lepton", "stall_timeout": 1800, "results": {"via": "mount", "volume": "node-nfs:shared"}}
    assert said(execution=mounted, target={"api_endpoint": ENDPOINT}) == []
    assert said(deployment=VLLM, target={"api_endpoint": {"model_id": "asked"}}) == []
