"""The Slurm snippets of the seed documents, run on the test cluster: only what names a site, its images and its paths is ours."""

import io
import json
import shutil
from functools import cache
from pathlib import Path

import pytest

from tests.cli.conftest import machine  # noqa: F401 (a fixture)
from tests.cli.machine import Machine
from tests.cluster import SSHD, USER, as_user
from tests.engine import engine, fake_harness_image
from tests.seeds.test_local import HERE, MAPPING

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("undisturbed")]

VLLM = """FROM {image}
RUN printf '#!/bin/sh\\nwhile [ $# -gt 1 ]; do case $1 in --port) port=$2 ;; --served-model-name) FAKE_MODEL=$2 ;; esac; \
shift; done\\nexport FAKE_MODEL\\nexec fake-server "$port"\\n' >/usr/local/bin/vllm && chmod 755 /usr/local/bin/vllm
"""

SITE = {
    "example": ["+execution.hostname=cluster"],
    "snippet": [
        "execution.hostname=cluster",
        f"execution.username={USER}",
        f"execution.ssh_key_path={SSHD}/client_key",
        "execution.memory=16G",
        "target.api_endpoint.model_id=meta/llama-3.1-8b-instruct",
        "evaluation.tasks=[{name: hellaswag}]",
    ],
}
FILES = {"example": HERE / "examples" / "slurm_llama_3_1_8b_instruct.yaml", "snippet": HERE / "snippets" / "slurm.yaml"}


@cache
def vllm_image() -> str:
    """The fake harness's image with a `vllm serve` that answers as any model."""
    text = VLLM.format(image=fake_harness_image())
    tag = fake_harness_image().replace("fake:", "fake-vllm:")
    engine().images.build(fileobj=io.BytesIO(text.encode()), tag=tag, rm=True, network_mode="none")
    return tag


@pytest.mark.parametrize("name", FILES)
def test_a_snippet_runs(machine: Machine, cluster_home: Path, shared: Path, name: str) -> None:  # noqa: F811
    assert cluster_home
    shutil.copy(FILES[name], machine.work / "slurm.yaml")
    (machine.work / "mapping.toml").write_text(MAPPING.format(image=fake_harness_image()))
    ours = [
        *SITE[name],
        *("execution.account=eval", f"execution.output_dir={shared}", f"execution.ssh_config={SSHD}/ssh_config"),
        *("execution.container_runtime=docker", f"execution.container_mounts=['{shared}:/data:ro']"),
        *(f"deployment.image={vllm_image()}", f"deployment.checkpoint_path={shared}"),
        *("evaluation.mapping=mapping.toml", f"execution.local_dir=from-{name}"),
    ]
    words = [word for each in ours for word in ("-o", each if each.startswith("+") else f"++{each}")]
    done = machine.run("run", "--config", "slurm.yaml", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = (machine.work / f"from-{name}").glob("*/results.json")
    result = json.loads(found.read_text())
    assert {each["scores"][0]["value"] for each in result["benchmarks"]} == {0.5}
    assert result["benchmarks"][0]["provenance"]["models_served"] == ["meta/llama-3.1-8b-instruct"]
    lines = as_user("squeue", "-h", "-t", "all", "-o", "%j %l %b").splitlines()
    (job,) = (line for line in lines if line.startswith(f"proctor-{result['evaluation']}-"))
    assert job.split()[1:] == ["4:00:00", "gres:gpu:8"], "as it is written there"
