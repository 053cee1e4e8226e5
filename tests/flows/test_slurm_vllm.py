"""The real `vllm serve` as the deployment of an evaluation on the real cluster, asked by the real NeMo Evaluator."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import SCRIPTS, STATE, USER, fake_harness
from tests.conftest import unavailable
from tests.flows.stack import Stack
from tests.flows.test_slurm_flow import submitted

pytestmark = pytest.mark.live

VLLM = STATE / "vllm"
DEMO = Path(__file__).parent.parent.parent / "demo"


@pytest.fixture(scope="session")
def vllm() -> Path:
    """The environment and the model of scripts/build-vllm."""
    done = subprocess.run([SCRIPTS / "build-vllm"], capture_output=True, text=True, check=False)
    if done.returncode:
        unavailable(f"scripts/build-vllm failed: {done.stderr.strip()[-300:]}")
    return VLLM


@pytest.fixture(scope="session")
def primer(cluster_home: Path) -> list[str]:
    """The packages of the primer harness where the cluster sees them."""
    place = cluster_home / "primer"
    subprocess.run(["rm", "-rf", place], check=True)
    subprocess.run(["cp", "-rL", DEMO, place], check=True)
    subprocess.run(["chown", "-R", f"{USER}:", place], check=True)
    return [str(place / "harness"), "nemo-evaluator==0.2.8"]


def config(home: Path, shared: Path, cluster_home: Path, vllm: Path, primer: list[str]) -> dict[str, Any]:
    """Two benchmarks that share one server, in one allocation without containers."""
    environment = "VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1"
    return {
        "execution": {
            "type": "slurm",
            "hostname": "cluster",
            "ssh_config": str(STATE / "sshd" / "ssh_config"),
            "account": "eval",
            "partition": "gpu",
            "gpus_per_node": 1,
            "walltime": 1200,
            "memory": "12G",
            "container_runtime": "none",
            "output_dir": str(shared),
            "image_cache": str(cluster_home / "results" / ".proctor-cache"),
            "local_dir": str(home),
            "endpoint_readiness_timeout": 600,
        },
        "deployment": {
            "type": "vllm",
            "checkpoint_path": str(vllm / "model"),
            "served_model_name": "tiny",
            "port": 18123,
            "max_model_len": 2048,
            "packages": [str(fake_harness(cluster_home))],
            "pre_cmd": f"export PATH={vllm}/env/bin:$PATH {environment}",
            "extra_args": "--host 127.0.0.1 --enforce-eager --dtype bfloat16 --max-num-seqs 4",
        },
        "target": {"api_endpoint": {"model_id": "tiny"}},
        "evaluation": {
            "trust_pre_cmd": True,
            "trust_unlisted": True,
            "nemo_evaluator_config": {"config": {"params": {"limit_samples": 4, "max_new_tokens": 8}}},
            "tasks": [{"name": f"primer.{name}", "packages": primer} for name in ("primer_facts", "primer_noop")],
        },
    }


@pytest.mark.timeout(900)
def test_vllm_serves_every_benchmark_of_one_allocation(
    stack: Stack, tmp_path: Path, shared: Path, cluster_home: Path, vllm: Path, primer: list[str]
) -> None:
    run = stack.start("slurm", config(tmp_path, shared, cluster_home, vllm, primer))
    assert run.until(seconds=800) == "Completed", run.message
    result = json.loads((run.folder / "results.json").read_text())
    facts = result["benchmarks"][0]
    assert facts["scores"][0]["samples"] == 4
    assert facts["provenance"]["models_served"] == ["tiny"]
    assert facts["provenance"]["isolation"] == "venv"
    served = json.loads((run.folder / "primer_facts.0" / "server-models.json").read_text())
    assert served["data"][0]["owned_by"] == "vllm"
    assert len(submitted(run)) == 1
