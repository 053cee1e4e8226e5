"""Evaluations as Prefect's state store knows them: found by id, read as typed values."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, count, islice
from typing import Any
from uuid import UUID

from proctor.blocks.job import JobHandle
from proctor.cli.api import PrefectApi
from proctor.cli.errors import CommandError, MistakeError
from proctor.cli.words import moment
from proctor.configs import records
from proctor.configs.pages import PAGE

FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
"""State types that never change again; a crashed run comes back by itself."""
UNDER_WAY = ("RUNNING", "CANCELLING", "CRASHED", "PAUSED")
"""State types of a run that has started, perhaps so lately that it does not bear its name yet."""
ID_DIGITS = 8
SHOWN = 5
"""How many evaluations are named where a text means several."""


@dataclass(frozen=True, slots=True)
class FlowRun:
    """One flow run, an evaluation's or a benchmark's."""

    flow_run_id: str
    name: str
    type: str
    """Prefect's state type, for instance RUNNING."""
    state: str
    """Its name in words, for instance AwaitingRetry."""
    message: str
    since: datetime | None
    created: datetime | None
    expected: datetime | None
    """When it is, or was, to start."""
    started: datetime | None
    ended: datetime | None
    tags: tuple[str, ...]
    labels: Mapping[str, Any]
    parameters: Mapping[str, Any]
    deployed: bool
    auto_scheduled: bool
    """Whether a schedule has created it, which is done days before it is due."""

    @property
    def id(self) -> str:
        """The evaluation's 8 hex digits."""
        return records.evaluation_id(self.flow_run_id)

    @property
    def final(self) -> bool:
        """Whether it is over."""
        return self.type in FINAL

    @property
    def planned(self) -> bool:
        """Whether a schedule has created it and its time has not come."""
        waits = self.auto_scheduled and self.type == "SCHEDULED"
        return waits and self.expected is not None and self.expected > datetime.now(UTC)

    @property
    def seconds(self) -> float | None:
        """Wall-clock time from its first start to its end, or to now."""
        if self.started is None:
            return None
        return ((self.ended if self.final and self.ended else datetime.now(UTC)) - self.started).total_seconds()

    @property
    def folder(self) -> str:
        """The evaluation's output folder; empty before it starts."""
        return str(self.labels.get(records.OUTPUT_LABEL, ""))

    @property
    def handles(self) -> tuple[JobHandle, ...]:
        """Its jobs, the latest attempt last."""
        found = [str(value) for key, value in self.labels.items() if key.startswith(records.JOB_LABEL)]
        handles = [JobHandle.from_json(json.loads(text)) for text in found]
        return tuple(sorted(handles, key=lambda each: int(each.name.rpartition("-")[2])))

    @property
    def backend(self) -> str:
        """Where its jobs run; empty while nobody knows: a config by the name of its file is read when the run starts."""
        prefix, config = records.backend_tag(""), self.parameters.get("config") or {}
        tagged = next((tag.removeprefix(prefix) for tag in self.tags if tag.startswith(prefix)), "")
        default = "" if set(config) <= {"file", "overrides", "tasks"} else "local"
        return tagged or str((config.get("execution") or {}).get("type") or default)

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """Its benchmarks, as the config names them."""
        tasks = (self.parameters.get("config") or {}).get("evaluation", {}).get("tasks", [])
        return tuple(str(task.get("name", "")) for task in tasks)

    def document(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "id": self.id,
            "flow_run_id": self.flow_run_id,
            "name": self.name,
            "state": self.type,
            "state_name": self.state,
            "message": self.message,
            "backend": self.backend or None,
            "benchmarks": list(self.benchmarks),
            "created": iso(self.created),
            "expected": iso(self.expected),
            "started": iso(self.started),
            "ended": iso(self.ended),
            "seconds": self.seconds,
            "output_dir": self.folder,
        }


def iso(time: datetime | None) -> str | None:
    """A time for programs."""
    return time.isoformat() if time else None


def flow_run(row: Mapping[str, Any]) -> FlowRun:
    """A flow run from the API's JSON."""
    state = row.get("state") or {}
    return FlowRun(
        flow_run_id=str(row["id"]),
        name=str(row["name"]),
        type=str(row.get("state_type") or "PENDING"),
        state=str(row.get("state_name") or "Pending"),
        message=str(state.get("message") or ""),
        since=moment(state.get("timestamp")),
        created=moment(row.get("created")),
        expected=moment(row.get("expected_start_time")),
        started=moment(row.get("start_time")),
        ended=moment(row.get("end_time")),
        tags=tuple(row.get("tags") or ()),
        labels=row.get("labels") or {},
        parameters=row.get("parameters") or {},
        deployed=row.get("deployment_id") is not None,
        auto_scheduled=bool(row.get("auto_scheduled")),
    )


def read(api: PrefectApi, flow_run_id: str) -> FlowRun:
    """A flow run as it stands now. Raises CommandError when it was deleted."""
    row = api.get(f"/flow_runs/{flow_run_id}")
    if row is None:
        raise CommandError(f"the flow run {flow_run_id} does not exist any more")
    return flow_run(row)


def select(api: PrefectApi, limit: int, **filters: Any) -> list[FlowRun]:
    """One page of evaluations, the newest first."""
    wanted = {"tags": {"all_": [records.EVALUATION_TAG]}, **filters}
    order = "EXPECTED_START_TIME_DESC"
    return [flow_run(row) for row in api.post("/flow_runs/filter", flow_runs=wanted, limit=limit, sort=order)]


def every(api: PrefectApi, *tags: str, **filters: Any) -> Iterator[FlowRun]:
    """All flow runs with these tags, each once, a page for each request that is needed."""
    wanted = {"tags": {"all_": list(tags)}, **filters}
    seen: set[str] = set()
    for offset in count(0, PAGE):
        # an order in which no two runs are equal: else a run may stand on no page at all
        page = api.post("/flow_runs/filter", flow_runs=wanted, limit=PAGE, offset=offset, sort="ID_DESC")
        fresh = {str(row["id"]): row for row in page if str(row["id"]) not in seen}
        seen |= set(fresh)
        yield from map(flow_run, fresh.values())
        if len(page) < PAGE:
            return


def find(api: PrefectApi, text: str) -> FlowRun:
    """The evaluation of this id, unique prefix of an id, or flow run id. Raises CommandError (exit code 2)."""
    wanted = text.strip().lower()
    if full := flow_run_id(wanted):
        row = api.get(f"/flow_runs/{full}")
        if row and records.EVALUATION_TAG in (row.get("tags") or ()):
            return flow_run(row)
        raise MistakeError(f"there is no evaluation with the flow run id {text}; `proctor ls runs` lists them")
    if not re.fullmatch(rf"[0-9a-f]{{1,{ID_DIGITS}}}", wanted):
        raise MistakeError(
            f"{text!r} is no id of an evaluation: 8 hex digits or the first of them; see `proctor ls runs`"
        )
    found = list(islice(candidates(api, wanted), SHOWN + 1))
    if not found:
        raise MistakeError(f"there is no evaluation {text!r}; `proctor ls runs` lists them")
    if len(found) > 1:
        listed = ", ".join(f"{run.id} ({run.name})" for run in found[:SHOWN])
        number = f"{len(found)}" if len(found) <= SHOWN else f"more than {SHOWN}"
        raise MistakeError(f"{text!r} means {number} evaluations: {listed}{', …' if len(found) > SHOWN else ''}")
    return found[0]


def candidates(api: PrefectApi, prefix: str) -> Iterator[FlowRun]:
    """Every evaluation whose id begins so."""
    seen: set[str] = set()
    for run in chain(named(api, prefix), unnamed(api)):
        if run.id.startswith(prefix) and run.flow_run_id not in seen:
            seen.add(run.flow_run_id)
            yield run


def named(api: PrefectApi, prefix: str) -> Iterator[FlowRun]:
    """Evaluations that tell their id: all of them by a tag, and at the end of their names."""
    if len(prefix) == ID_DIGITS:
        return every(api, records.EVALUATION_TAG, records.evaluation_tag(prefix))
    return every(api, records.EVALUATION_TAG, name={"like_": f" {prefix}"})


def unnamed(api: PrefectApi) -> Iterator[FlowRun]:
    """Evaluations that may not tell their id: created elsewhere, and never started, or started a moment ago."""
    yield from every(api, records.EVALUATION_TAG, start_time={"is_null_": True})
    yield from every(api, records.EVALUATION_TAG, state={"type": {"any_": list(UNDER_WAY)}})


def flow_run_id(text: str) -> str | None:
    """A whole flow run id, or None when the text is none."""
    try:
        return str(UUID(text)) if len(text) >= 32 else None
    except ValueError:
        return None


def split_id(text: str) -> tuple[str, str]:
    """`ID.BENCHMARK` as its two parts; the second is empty for a whole evaluation."""
    evaluation, _, benchmark = text.partition(".")
    return evaluation, benchmark


def children(api: PrefectApi, evaluation: str) -> list[FlowRun]:
    """The runs of an evaluation's benchmarks, the newest of each, in the order in which they began."""
    found = list(every(api, records.BENCHMARK_TAG, records.evaluation_tag(evaluation)))
    found.sort(key=lambda run: run.created.timestamp() if run.created else 0.0)
    newest = {str(run.parameters.get("step", run.name)): run for run in found}
    return list(newest.values())
