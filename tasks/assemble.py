"""From what a benchmark left to its result with provenance, and from those to the result of the evaluation.

Reads files of the output folders; starts nothing and asks nobody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from proctor.blocks.job import Server
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.attempts import attempt_of
from proctor.tasks.environment import without_containers
from proctor.tasks.plan import Plan
from proctor.tasks.results import (
    BenchmarkResult,
    EvaluationResult,
    Provenance,
    read_harness_versions,
    read_models_served,
    read_packages,
    read_params,
    read_requests,
    read_scores,
)
from proctor.tasks.sight import Sight
from proctor.tasks.verdict import Outcome

SCORE_FILE = "benchmark.json"
"""In a step's output folder: its BenchmarkResult. Where it lies, the benchmark has been scored and is not again."""

Isolation = Literal["container", "venv", "none"]
STATES: Mapping[str, Literal["COMPLETED", "FAILED", "CANCELLED", "UNKNOWN"]] = {
    "scored": "COMPLETED",
    "failed": "FAILED",
    "cancelled": "CANCELLED",
    "unavailable": "UNKNOWN",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One step of a plan and where it is: what a result is made of."""

    config: EvaluationConfig
    plan: Plan
    step: str
    sight: Sight | None
    commit: str | None = None

    @property
    def folder(self) -> Path:
        """What the step left, on this machine."""
        return Path(self.plan.folder) / self.step

    @property
    def server(self) -> Server | None:
        """The model server beside it, if the evaluation started one."""
        return next(job.server for job in self.plan.jobs if any(each.name == self.step for each in job.steps))


def isolation(config: EvaluationConfig) -> Isolation:
    """What kept a benchmark apart from the machine it ran on."""
    if config.execution.type == "simulated":
        return "none"
    return "venv" if without_containers(config) else "container"


def provenance(measured: Measured) -> Provenance:
    """What the scores of this step depend on."""
    benchmark, folder = measured.plan.benchmark(measured.step), measured.folder
    asked = measured.plan.endpoint(measured.step)
    kind = isolation(measured.config)
    digests = measured.sight.status.image_digests if measured.sight else {}
    server = measured.server
    return Provenance(
        isolation=kind,
        image=benchmark.image if kind == "container" else None,
        image_digest=digests.get(measured.step),
        server_image=server.container.image if server and kind == "container" else None,
        server_image_digest=digests.get("server"),
        packages=read_packages(folder),
        model=asked.model,
        models_served=read_models_served(folder),
        endpoint=asked.url,
        endpoint_type=asked.type,
        params=read_params(folder),
        config_hash=measured.plan.config_hash,
        proctor_version=version("proctor"),
        harness_versions=read_harness_versions(folder),
        git_commit=measured.commit,
    )


def score(measured: Measured) -> BenchmarkResult:
    """The result of a step that ended well. Raises ResultError when its results.yml is missing or malformed."""
    scores, remark = read_scores(measured.folder)
    status = measured.sight.step(measured.step) if measured.sight else None
    return BenchmarkResult(
        benchmark=measured.plan.benchmark(measured.step).name,
        step=measured.step,
        state="COMPLETED",
        message=remark,
        scores=scores,
        started=status.started if status else None,
        ended=status.ended if status else None,
        attempts=attempt_of(measured.sight.handle.name) if measured.sight else 1,
        requests=read_requests(measured.folder),
        output=str(measured.folder),
        provenance=provenance(measured),
    )


def stored(folder: Path) -> BenchmarkResult | None:
    """The result that an earlier look at this step wrote down, or None."""
    try:
        return BenchmarkResult.model_validate_json((folder / SCORE_FILE).read_text())
    except (OSError, ValidationError):
        return None


def unscored(measured: Measured, outcome: Outcome) -> BenchmarkResult:
    """The result of a step that has no scores, and why."""
    status = measured.sight.step(measured.step) if measured.sight else None
    return BenchmarkResult(
        benchmark=outcome.benchmark,
        step=measured.step,
        state=STATES[outcome.ending],
        message=outcome.reason,
        started=status.started if status else None,
        ended=status.ended if status else None,
        attempts=attempt_of(measured.sight.handle.name) if measured.sight else 1,
        output=str(measured.folder),
    )


def evaluation_result(
    config: EvaluationConfig,
    plan: Plan,
    flow_run_id: str,
    started: datetime | None,
    benchmarks: Sequence[BenchmarkResult],
) -> EvaluationResult:
    """results.json: all benchmarks in the order of the config."""
    return EvaluationResult(
        evaluation=plan.evaluation,
        flow_run_id=flow_run_id,
        name=config.name or plan.model,
        model=plan.model,
        execution=config.execution.type,
        started=started,
        ended=datetime.now(UTC),
        benchmarks=list(benchmarks),
    )


def headline(result: BenchmarkResult) -> str:
    """A result as one line: its first scores, and what is missing."""
    shown = [f"{each.name} {each.value:.4g}" for each in result.scores[:3]]
    more = f" and {len(result.scores) - 3} more" if len(result.scores) > 3 else ""
    return ", ".join(shown) + more + (f"; {result.message}" if result.message else "")
