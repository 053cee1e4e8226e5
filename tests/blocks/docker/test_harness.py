"""A real harness in its container against a real model in another: one job of the Docker backend."""

from pathlib import Path

import pytest
import yaml

from proctor.blocks.docker.block import DockerBackend
from proctor.blocks.job import Container, JobSpec, JobState, Server, Step
from proctor.configs.execution_schema import LocalExecution
from tests.blocks.docker.test_block import DockerSetup
from tests.engine import require_image

pytestmark = pytest.mark.live

PORT = 8000
URL = f"http://127.0.0.1:{PORT}/v1/chat/completions"


def test_a_model_is_served_and_scored_in_one_job(tmp_path: Path) -> None:
    eval_image, model_image = require_image("proctor-test/eval:1"), require_image("proctor-test/model:1")
    setup = DockerSetup(tmp_path)
    config = {
        "config": {"type": "primer_facts", "output_dir": "/results", "params": {"limit_samples": 8, "parallelism": 2}},
        "target": {"api_endpoint": {"url": URL, "model_id": "smollm2", "type": "chat"}},
    }
    step = Step("primer.0", "primer.primer_facts", Container(eval_image), yaml.safe_dump(config), URL, timeout=300)
    command = f"python3 /opt/model/serve.py --port {PORT} --model-name smollm2"
    server = Server("generic", Container(model_image), command, PORT, "smollm2", ready_timeout=120)
    spec = setup.job(step)
    job = JobSpec(spec.name, spec.evaluation, spec.output_dir, (step,), server)
    backend = DockerBackend(execution=LocalExecution())
    (handle,) = setup.submit(job)
    try:
        status = setup.wait(handle, 300)
        folder = backend.fetch(handle, "primer.0", tmp_path)
    finally:
        setup.close()
    assert status.state is JobState.COMPLETED, (folder / "harness.log").read_text()[-3000:]
    results = yaml.safe_load((folder / "results.yml").read_text())["results"]
    assert best_score({**results.get("tasks", {}), **results.get("groups", {})}) > 0
    assert "smollm2" in (folder / "server-models.json").read_text()
    assert set(status.image_digests) == {"server", "primer.0"}


def best_score(tasks: dict[str, dict[str, dict[str, dict[str, dict[str, dict[str, float]]]]]]) -> float:
    metrics = [metric for task in tasks.values() for metric in task["metrics"].values()]
    return max(score["value"] for metric in metrics for score in metric["scores"].values())
