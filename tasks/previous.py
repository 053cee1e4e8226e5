"""Finding the previous run of the same deployment, to say what changed since."""

from typing import Any

from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from pydantic import ValidationError

from proctor.configs import records
from proctor.tasks.api import api
from proctor.tasks.changes import compared, incomparable
from proctor.tasks.records import EvaluationRun
from proctor.tasks.results import EvaluationResult


async def compare(run: EvaluationRun, result: EvaluationResult) -> tuple[EvaluationResult, str]:
    """The result with its changes since the previous run, and a sentence about that; as it was when there is none.

    Whatever goes wrong here changes nothing about the scores.
    """
    try:
        before = await previous(run, result)
    except Exception as error:  # noqa: BLE001 a comparison is never worth a score
        get_run_logger().warning("not compared with the previous run: %s", error)
        return result, ""
    if before is None:
        return result, ""
    words = "; ".join(incomparable(result, before))
    said = f"Change against evaluation {before.evaluation}" + (f" (not comparable: {words})" if words else "")
    return compared(result, before), said


async def previous(run: EvaluationRun, result: EvaluationResult) -> EvaluationResult | None:
    """The newest result of the same model by the same deployment that has scores."""
    context = FlowRunContext.get()
    deployment = context.flow_run.deployment_id if context and context.flow_run else None
    if deployment is None:
        return None
    wanted: dict[str, Any] = {
        "tags": {"all_": [records.EVALUATION_TAG, records.model_tag(result.model)]},
        "deployment_id": {"any_": [deployment]},
        "state": {"type": {"any_": ["COMPLETED"]}},
        "expected_start_time": {"before_": run.created},
    }
    found = await api().read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate(wanted), sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=5
    )
    names = {each.benchmark for each in result.benchmarks}
    for each in found:
        before = await result_of(records.evaluation_id(each.id))
        if before and names & {benchmark.benchmark for benchmark in before.benchmarks if benchmark.scores}:
            return before
    return None


async def result_of(evaluation: str) -> EvaluationResult | None:
    """The result that an evaluation left in the state store."""
    key = ArtifactFilter.model_validate({"key": {"any_": [records.results_key(evaluation)]}})
    found = await api().read_artifacts(artifact_filter=key, limit=1)
    try:
        return EvaluationResult.model_validate(found[0].data) if found else None
    except ValidationError:
        return None
