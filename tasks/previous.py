"""Finding the previous runs of the same deployment, to say what changed since."""

from typing import Any

from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter
from prefect.client.schemas.sorting import ArtifactSort, FlowRunSort
from prefect.logging import get_run_logger
from pydantic import ValidationError

from proctor.configs import records
from proctor.tasks.api import api
from proctor.tasks.changes import compared, open_still, said
from proctor.tasks.records import EvaluationRun
from proctor.tasks.results import EvaluationResult

LOOK_BACK = 20
"""How many earlier runs are looked at for one that a benchmark can be compared with."""
FINAL = ["COMPLETED", "FAILED", "CANCELLED", "CRASHED"]


async def compare(run: EvaluationRun, result: EvaluationResult) -> tuple[EvaluationResult, str]:
    """The result with its changes since the previous runs, and a sentence about that; as it was when there are none.

    Each benchmark is compared with the newest run in which what its scores depend on was the same. `run` is the record
    as it stands now. Whatever goes wrong here changes nothing about the scores.
    """
    try:
        return await against_earlier(run, result)
    except Exception as error:  # noqa: BLE001 a comparison is never worth a score
        get_run_logger().warning("not compared with the previous run: %s", error)
        return result, ""


async def against_earlier(run: EvaluationRun, result: EvaluationResult) -> tuple[EvaluationResult, str]:
    """The same, or the first thing that goes wrong."""
    seen: list[EvaluationResult] = []
    for evaluation in await earlier(run, result.model):
        if not any(map(open_still, result.benchmarks)):
            break
        if before := await result_of(evaluation):
            seen.append(before)
            result = compared(result, before)
    return result, said(result, seen)


async def earlier(run: EvaluationRun, model: str) -> list[str]:
    """The evaluations of the same model by the same deployment that began before this one and are over, newest first."""
    if run.deployment is None or run.started is None:
        return []
    wanted: dict[str, Any] = {
        "tags": {"all_": [records.EVALUATION_TAG, records.model_tag(model)]},
        "deployment_id": {"any_": [run.deployment]},
        "state": {"type": {"any_": FINAL}},
        "start_time": {"before_": run.started},
        "id": {"not_any_": [run.flow_run_id]},
    }
    found = await api().read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate(wanted), sort=FlowRunSort.START_TIME_DESC, limit=LOOK_BACK
    )
    return [records.evaluation_id(each.id) for each in found]


async def result_of(evaluation: str) -> EvaluationResult | None:
    """The result that an evaluation left in the state store."""
    key = ArtifactFilter.model_validate({"key": {"any_": [records.results_key(evaluation)]}})
    found = await api().read_artifacts(artifact_filter=key, sort=ArtifactSort.CREATED_DESC, limit=1)
    try:
        return EvaluationResult.model_validate(found[0].data) if found else None
    except ValidationError:
        return None
