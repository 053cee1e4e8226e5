"""What an evaluation leaves in Prefect's state store: name, tags, labels and artifacts, by `configs/records.py`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext

from proctor.blocks.job import JobHandle
from proctor.configs import records
from proctor.configs.errors import ConfigError
from proctor.configs.host_env import user
from proctor.configs.lepton_endpoint import endpoint_in
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.api import api
from proctor.tasks.artifacts import create_once
from proctor.tasks.endpoint import served_model
from proctor.tasks.engine_lock import engine_name
from proctor.tasks.plan import FOLDER_TIME
from proctor.tasks.progress import Row
from proctor.tasks.resolve import resolve

MOST_BENCHMARK_TAGS = 50
"""An evaluation of more benchmarks leaves their tags to their own runs: Prefect refuses to record anything of a run that has
about a hundred (`PREFECT_SERVER_EVENTS_MAXIMUM_RELATED_RESOURCES`), also its end."""


@dataclass(frozen=True, slots=True)
class EvaluationRun:
    """The run of `evaluate` that this process drives, as its record stood when it started."""

    flow_run_id: UUID
    due: datetime
    """When it was to start, long after its creation by a schedule: its folder's name, however often it is started again."""
    handles: tuple[JobHandle, ...]
    """Jobs that earlier engines of this run began."""
    tags: tuple[str, ...] = ()
    over: bool = False
    """Whether another engine has brought it to its end."""
    started: datetime | None = None
    """When it first ran, as far as the record knew by then."""
    deployment: UUID | None = None
    who: str = ""
    """Who asked for it, where that is known."""
    engine: str = ""
    """The last process that drove it, as `engine_name` says; empty when none has."""
    released: bool = False
    """Whether its jobs were ended by a cancellation; then it is resumed with new attempts of them."""
    handed_back: int = 0
    """How often an engine on another machine than that of its jobs gave it back."""

    @property
    def id(self) -> str:
        """The 8 hex digits of the evaluation."""
        return records.evaluation_id(self.flow_run_id)


async def this_run(*, fresh: bool = False) -> EvaluationRun:
    """The evaluation that this code runs in; `fresh` asks how its record stands now."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RuntimeError("an evaluation is a flow run: call the flow `evaluate` itself, not its function")
    return evaluation_run(await api().read_flow_run(context.flow_run.id) if fresh else context.flow_run)


def evaluation_run(run: FlowRun) -> EvaluationRun:
    """What a flow run's record says."""
    return EvaluationRun(
        flow_run_id=run.id,
        due=due(run),
        handles=handles_in(run.labels),
        tags=tuple(run.tags or ()),
        over=run.state is not None and run.state.is_final(),
        started=run.start_time,
        deployment=run.deployment_id,
        who=asked_by(run),
        engine=str(run.labels.get(records.ENGINE_LABEL, "")),
        released=bool(run.labels.get(records.RELEASED_LABEL)),
        handed_back=int(run.labels.get(records.HANDED_BACK_LABEL, 0)),
    )


def due(run: FlowRun) -> datetime:
    """When a run was to start: as the folder that it has already says, else as planned, else its creation."""
    folder = str(run.labels.get(records.OUTPUT_LABEL, "")).rpartition("/")[2]
    try:
        return datetime.strptime(folder.partition("-")[0], FOLDER_TIME).replace(tzinfo=UTC)
    except ValueError:
        return run.expected_start_time or run.created or datetime.now(UTC)


def asked_by(run: FlowRun) -> str:
    """Who asked for a run: the person that its creator named, or the schedule."""
    named = str(run.labels.get(records.WHO_LABEL, ""))
    if named or not run.created_by:
        return named
    value = run.created_by.display_value or ""
    return f"schedule {value}" if run.created_by.type == "SCHEDULE" else value


def handles_in(labels: Mapping[str, Any]) -> tuple[JobHandle, ...]:
    """The jobs that a flow run's labels name."""
    found = [str(value) for key, value in labels.items() if key.startswith(records.JOB_LABEL)]
    return tuple(JobHandle.from_json(json.loads(text)) for text in found)


async def record_start(run: EvaluationRun, config: EvaluationConfig, output_dir: Path) -> None:
    """Name the run, tag it so that lists find it, and say who drives it from where."""
    kind, model = config.execution.type, model_name(config)
    tags = [records.EVALUATION_TAG, records.evaluation_tag(run.id), records.backend_tag(kind), records.model_tag(model)]
    names = benchmark_names(config)
    tags += [records.benchmark_tag(name) for name in names if len(names) <= MOST_BENCHMARK_TAGS]
    name = f"{config.name or model} on {kind} {run.id}"
    await api().update_flow_run(run.flow_run_id, name=name, tags=list(dict.fromkeys([*tags, *run.tags])))
    labels: dict[str, bool | int | float | str] = {
        records.OUTPUT_LABEL: str(output_dir),
        records.ENGINE_LABEL: engine_name(),
    }
    who = run.who or f"{user()} (the worker's user)"
    await api().update_flow_run_labels(run.flow_run_id, labels | {records.WHO_LABEL: who})


def benchmark_names(config: EvaluationConfig) -> list[str]:
    """The full names of the benchmarks, which their own runs carry too; as written where there is a mistake in them."""
    try:
        return [each.name for each in resolve(config)]
    except ConfigError:
        return [each.name for each in config.evaluation.tasks]


def model_name(config: EvaluationConfig) -> str:
    """What the measured model is called in lists."""
    try:
        name = served_model(config)
    except ConfigError:
        return "model"
    return endpoint_in(name).partition("#")[0] or name


async def record_jobs(run: EvaluationRun, handles: Iterable[JobHandle]) -> None:
    """Write down jobs, those that are about to be submitted too: cancelling and coming back read it from any host."""
    labels: dict[str, bool | int | float | str] = {
        f"{records.JOB_LABEL}{each.name}": json.dumps(each.to_json()) for each in handles
    }
    if labels:
        await api().update_flow_run_labels(run.flow_run_id, labels)


async def record_released(run: EvaluationRun) -> None:
    """Say that its jobs are gone for good."""
    await api().update_flow_run_labels(run.flow_run_id, {records.RELEASED_LABEL: True})


async def write_artifact(run: EvaluationRun, kind: str, key: str, data: Any, description: str = "") -> UUID:
    """A new version of an artifact of the evaluation; the answer is its id."""
    artifact = ArtifactCreate(type=kind, key=key, data=data, description=description, flow_run_id=run.flow_run_id)
    return await create_once(artifact)


async def write_table(run: EvaluationRun, key: str, rows: Sequence[Row], description: str = "") -> UUID:
    """A table artifact; the answer is its id."""
    return await write_artifact(run, "table", key, json.dumps(rows), description)


async def update_table(artifact: UUID, rows: Sequence[Row]) -> None:
    """Replace the rows of a table artifact, so that a long evaluation has one version and not thousands."""
    await api().update_artifact(artifact, ArtifactUpdate(data=json.dumps(rows)))
