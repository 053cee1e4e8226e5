"""An evaluation's result for the tests of exporters."""

from datetime import UTC, datetime
from pathlib import Path

from proctor.tasks.results import BenchmarkResult, EvaluationResult, Provenance, Score

FLOW_RUN = "0199aaaa-bbbb-7ccc-8ddd-eeee3f2a91bc"
PROVENANCE = Provenance(
    isolation="container",
    image="example/mmath:1",
    image_digest="sha256:abc",
    model="tiny",
    endpoint="http://127.0.0.1:9/v1",
    endpoint_type="chat",
    params={"temperature": 0.0},
    config_hash="c0ffee",
    proctor_version="0.1.0",
)


def result(output: Path | None = None, value: float = 0.5) -> EvaluationResult:
    """Two benchmarks, one of which failed."""
    scores = [Score(name="AIME2024.accuracy", value=value, stderr=0.08, samples=30), Score(name="pass@1", value=0.25)]
    scored = BenchmarkResult(
        benchmark="mmath.mmath_en",
        step="mmath_en.0",
        state="COMPLETED",
        scores=scores,
        output=str(output or ""),
        provenance=PROVENANCE,
    )
    failed = BenchmarkResult(benchmark="bfcl.simple", step="simple.1", state="FAILED", message="timed out")
    return EvaluationResult(
        evaluation="3f2a91bc",
        flow_run_id=FLOW_RUN,
        name="demo",
        model="tiny",
        execution="local",
        started=datetime(2026, 1, 1, tzinfo=UTC),
        ended=datetime(2026, 1, 1, 1, tzinfo=UTC),
        benchmarks=[scored, failed],
    )


def output(folder: Path) -> Path:
    """The output folder of a benchmark, with a cache that must stay where it is."""
    (folder / "cache").mkdir(parents=True)
    (folder / "cache" / "answers.db").write_text("large")
    (folder / "results.yml").write_text("results: {}\n")
    (folder / "harness.log").write_text("it ran\n")
    return folder
