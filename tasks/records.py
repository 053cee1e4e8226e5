"""What an evaluation leaves in Prefect's state store: name, tags, labels and artifacts, by `configs/records.py`."""

import getpass
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.context import FlowRunContext

from proctor.blocks.job import JobHandle
from proctor.configs import records
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.api import api
from proctor.tasks.engine_lock import engine_name
from proctor.tasks.progress import Row


@dataclass(frozen=True, slots=True)
class EvaluationRun:
    """The run of `evaluate` that this process drives, as its record stood when it started."""

    flow_run_id: UUID
    created: datetime
    handles: tuple[JobHandle, ...]
    """Jobs that earlier engines of this run began."""
    tags: tuple[str, ...] = ()
    over: bool = False
    """Whether another engine has brought it to its end."""

    @property
    def id(self) -> str:
        """The 8 hex digits of the evaluation."""
        return records.evaluation_id(self.flow_run_id)


async def this_run(*, fresh: bool = False) -> EvaluationRun:
    """The evaluation that this code runs in; `fresh` asks how its record stands now."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RuntimeError("an evaluation is a flow run: call the flow `evaluate` itself, not its function")
    run = await api().read_flow_run(context.flow_run.id) if fresh else context.flow_run
    over = run.state is not None and run.state.is_final()
    return EvaluationRun(run.id, run.created or datetime.now(UTC), handles_in(run.labels), tuple(run.tags or ()), over)


def handles_in(labels: Mapping[str, Any]) -> tuple[JobHandle, ...]:
    """The jobs that a flow run's labels name."""
    found = [str(value) for key, value in labels.items() if key.startswith(records.JOB_LABEL)]
    return tuple(JobHandle.from_json(json.loads(text)) for text in found)


async def record_start(run: EvaluationRun, config: EvaluationConfig, output_dir: Path) -> None:
    """Name the run, tag it so that lists find it, and say who drives it from where."""
    kind, model = config.execution.type, model_name(config)
    tags = [records.EVALUATION_TAG, records.evaluation_tag(run.id), records.backend_tag(kind), records.model_tag(model)]
    tags += [records.benchmark_tag(each.name) for each in config.evaluation.tasks]
    name = f"{config.name or model} on {kind} {run.id}"
    await api().update_flow_run(run.flow_run_id, name=name, tags=list(dict.fromkeys([*tags, *run.tags])))
    labels: dict[str, bool | int | float | str] = {
        records.OUTPUT_LABEL: str(output_dir),
        records.ENGINE_LABEL: engine_name(),
    }
    await api().update_flow_run_labels(run.flow_run_id, labels | {records.WHO_LABEL: getpass.getuser()})


def model_name(config: EvaluationConfig) -> str:
    """What the measured model is called in lists."""
    served: str | None = getattr(config.deployment, "served_model_name", None)
    return config.target.api_endpoint.model_id or served or "model"


async def record_jobs(run: EvaluationRun, handles: Iterable[JobHandle]) -> None:
    """Write down jobs, those that are about to be submitted too: cancelling and coming back read it from any host."""
    labels: dict[str, bool | int | float | str] = {
        f"{records.JOB_LABEL}{each.name}": json.dumps(each.to_json()) for each in handles
    }
    if labels:
        await api().update_flow_run_labels(run.flow_run_id, labels)


async def write_artifact(run: EvaluationRun, kind: str, key: str, data: Any, description: str = "") -> UUID:
    """A new version of an artifact of the evaluation; the answer is its id."""
    artifact = ArtifactCreate(type=kind, key=key, data=data, description=description, flow_run_id=run.flow_run_id)
    return (await api().create_artifact(artifact)).id


async def write_table(run: EvaluationRun, key: str, rows: Sequence[Row], description: str = "") -> UUID:
    """A table artifact; the answer is its id."""
    return await write_artifact(run, "table", key, json.dumps(rows), description)


async def update_table(artifact: UUID, rows: Sequence[Row]) -> None:
    """Replace the rows of a table artifact, so that a long evaluation has one version and not thousands."""
    await api().update_artifact(artifact, ArtifactUpdate(data=json.dumps(rows)))
