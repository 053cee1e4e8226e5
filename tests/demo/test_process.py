"""The process backend with the real parts of the demo: a real model server and a real harness in their environments."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proctor.blocks.job import JobSpec, JobState
from proctor.blocks.process.block import ProcessBackend
from proctor.configs.execution_schema import ProcessExecution
from proctor.configs.load import read_config
from proctor.tasks.plan import plan
from proctor.tasks.results import read_harness_versions, read_models_served, read_scores
from tests.blocks.test_process import ProcessSetup

pytestmark = [pytest.mark.live, pytest.mark.timeout(1200)]
DEMO = Path(__file__).parents[2] / "demo"


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobSpec]:
    """The demo's own job with one benchmark, on a free port."""
    setup = ProcessSetup(tmp_path)
    monkeypatch.setenv("PROCTOR_DEMO", str(DEMO))
    changes = [
        f"deployment.port={setup.server('').port}",
        f"execution.output_dir={tmp_path / 'results'}",
        "evaluation.tasks=[{name: primer_facts, nemo_evaluator_config: {config: {params: {limit_samples: 6}}}}]",
    ]
    config = read_config(DEMO, "demo", changes, ()).config
    (job,) = plan(config, "0123abcd", datetime.now(UTC)).jobs
    yield job


def test_a_real_model_is_measured_by_a_real_harness(job: JobSpec, tmp_path: Path) -> None:
    setup = ProcessSetup(tmp_path)
    backend = ProcessBackend(execution=ProcessExecution())
    (name,) = (step.name for step in job.steps)
    (handle,) = setup.submit(job)
    try:
        status = setup.wait(handle, 400)
        log = "\n".join(backend.logs(handle, name, follow=False, tail=40))
        assert status.state is JobState.COMPLETED, f"{status}\n{log}"
        folder = backend.fetch(handle, name, tmp_path / "fetched")
        scores, _ = read_scores(folder)
        assert any(score.value > 0 for score in scores), scores
        assert read_models_served(folder) == ["smollm2-135m"]
        assert "nemo-evaluator" in read_harness_versions(folder)
    finally:
        backend.cancel([handle])
    assert setup.leftovers(handle) == []
