"""The artifacts of an evaluation: its progress while it runs, its scores at the end."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from proctor.cli.api import PrefectApi
from proctor.cli.errors import CommandError
from proctor.cli.evaluations import FlowRun, iso
from proctor.cli.words import age, moment
from proctor.configs import records
from proctor.configs.fields import seconds_of
from proctor.tasks.sight import LONG, interval

if TYPE_CHECKING:
    from proctor.tasks.results import EvaluationResult

STALE = 60.0
LOOKS = 3
"""How many looks at a running benchmark must be missing, at least for STALE seconds, until its state is shown as UNKNOWN."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One benchmark, as far as the evaluation says."""

    benchmark: str
    step: str = ""
    state: str = "PENDING"
    message: str = ""
    requests: int | None = None
    since: datetime | None = None
    observed: datetime | None = None
    took: float | None = None
    """Wall-clock seconds of one that has ended."""
    adrift: bool = False
    """Whether nobody follows it any more: the evaluation ended before it did."""
    job: str = ""
    per_minute: float | None = None
    """Requests answered in a minute, lately."""
    stale: float = STALE
    """Seconds without a sign of it after which nobody knows how it is."""

    @property
    def server(self) -> bool:
        """Whether it is no benchmark but the model server of a job."""
        return self.step == records.SERVER_STEP

    @property
    def key(self) -> str:
        """What tells it from all others of its evaluation: the same benchmark may be in it twice, and a server for each job."""
        return f"{self.step} {self.job}" if self.server else self.step or self.benchmark

    @property
    def final(self) -> bool:
        """Whether it is over."""
        return self.state in {"COMPLETED", "FAILED", "CANCELLED"}

    def seconds(self, now: datetime) -> float | None:
        """For how long it ran, or has been running; None before it begins, and where nobody knows."""
        if self.state == "RUNNING" and self.since:
            return max(0.0, (now - self.since).total_seconds())
        return self.took

    def words(self, now: datetime) -> str:
        """The state for a person; one that nobody has confirmed for a while is UNKNOWN, with what was last known."""
        silent = self.observed is not None and (now - self.observed).total_seconds() > self.stale
        if self.final or not (silent or self.adrift):
            return self.state
        return f"UNKNOWN ({self.state}{f' {age(self.observed, now)} ago' if self.observed else ''})"


def latest(api: PrefectApi, *keys: str) -> dict[str, Any]:
    """The data of the newest artifact of each key that has one, from JSON where it is a text: one request."""
    found = api.post("/artifacts/latest/filter", artifacts={"key": {"any_": list(keys)}}, limit=len(keys))
    return {
        each["key"]: json.loads(data) if isinstance(data := each.get("data"), str) else data for each in found or []
    }


def table(api: PrefectApi, run: FlowRun) -> tuple[Progress, ...]:
    """One row a benchmark, with a row for each model server before the benchmarks that it serves."""
    key = records.progress_key(run.id)
    return table_of(run, latest(api, key).get(key))


def table_of(run: FlowRun, rows: Sequence[Mapping[str, Any]] | None) -> tuple[Progress, ...]:
    """The same from the evaluation's own table, or from its config before there is one."""
    if not rows:
        state = "CANCELLED" if run.type == "CANCELLED" else "PENDING"
        message = "images or environments are fetched on first use" if run.type == "RUNNING" else ""
        return tuple(Progress(name, state=state, message=message) for name in run.benchmarks)
    return tuple(row_of(run, row) for row in rows)


def row_of(run: FlowRun, row: Mapping[str, Any]) -> Progress:
    """One row of the table, in the light of how the evaluation ended: its last version may never have been written."""
    seen = Progress(
        benchmark=row["benchmark"],
        step=row["step"],
        state=row["state"],
        message=row.get("message") or "",
        requests=row.get("requests"),
        since=moment(row.get("since")),
        took=row.get("seconds"),
        observed=moment(row.get("observed")),
        adrift=run.type == "FAILED",
        job=row.get("job") or "",
        per_minute=row.get("per_minute"),
        stale=stale(run),
    )
    return replace(seen, state="CANCELLED", message="") if run.type == "CANCELLED" and not seen.final else seen


def stale(run: FlowRun) -> float:
    """Seconds without a sign after which a state is no longer known, at the pace at which this backend is asked."""
    named = ((run.parameters.get("config") or {}).get("execution") or {}).get("poll_interval")
    pace = seconds_of(named) if named else interval(run.backend, LONG)
    return max(STALE, LOOKS * pace)


def results(api: PrefectApi, run: FlowRun) -> "EvaluationResult | None":
    """The results of an evaluation; None before there are any. Raises CommandError for those of a newer version."""
    key = records.results_key(run.id)
    data = latest(api, key).get(key)
    if data is None:
        return None
    from pydantic import ValidationError  # noqa: PLC0415 (only where results are shown)

    from proctor.tasks.results import EvaluationResult  # noqa: PLC0415

    try:
        return EvaluationResult.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CommandError(
            f"the results of {run.id} were written by another version: {where}: {first['msg']}"
        ) from error


def progress_document(rows: tuple[Progress, ...]) -> list[dict[str, Any]]:
    """Each benchmark for programs."""
    return [
        {
            **state_document(row),
            "benchmark": row.benchmark,
            "step": row.step,
            "requests": row.requests,
            "requests_per_minute": row.per_minute,
            "since": iso(row.since),
            "seconds": row.seconds(now()),
        }
        for row in rows
        if not row.server
    ]


def state_document(row: Progress) -> dict[str, Any]:
    """How a benchmark or a server is doing."""
    return {
        "state": row.words(now()).split(" ")[0],
        "last_state": row.state,
        "message": row.message,
        "observed": iso(row.observed),
    }


def now() -> datetime:
    """The time, as Prefect counts it."""
    return datetime.now(UTC)
