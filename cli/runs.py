"""`proctor ls runs`: the evaluations in Prefect's state store."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from proctor.cli.api import PrefectApi, connect
from proctor.cli.errors import MistakeError
from proctor.cli.evaluations import FlowRun, select
from proctor.cli.tables import show
from proctor.cli.words import duration, local
from proctor.configs.pages import PAGE, behind

TYPES = ("SCHEDULED", "PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "CANCELLING", "CRASHED", "PAUSED")
SKEW = timedelta(minutes=5)
"""How far the server's clock may be ahead of ours."""
HEAD = ("id", "name", "state", "backend", "benchmarks", "started", "time")


@click.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many, the newest first.")
@click.option("--state", metavar="S", help=f"Only those in this state: {', '.join(each.lower() for each in TYPES)}.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of a table.")
def runs(limit: int, state: str | None, *, as_json: bool) -> None:
    """The newest evaluations; those that a schedule has planned for later only with --state scheduled."""
    filters = state_filter(state)
    found = newest(connect(), limit, filters, planned=filters == state_filter("scheduled"))
    if as_json:
        click.echo(json.dumps([run.document() for run in found], indent=1))
    elif found:
        show(HEAD, [cells(run) for run in found], right=("benchmarks", "time"))
    else:
        click.echo(f"no evaluations{f' in state {state}' if state else ''}; `proctor run` starts one", err=True)


def state_filter(state: str | None) -> dict[str, Any]:
    """The filter of the API for a state. Raises CommandError for one that does not exist."""
    if state is None:
        return {}
    if state.upper() not in TYPES:
        raise MistakeError(f"--state: there is no state {state!r}; there are {', '.join(TYPES)}")
    return {"state": {"type": {"any_": [state.upper()]}}}


def newest(api: PrefectApi, limit: int, filters: dict[str, Any], *, planned: bool = False) -> list[FlowRun]:
    """That many evaluations, a page at a time; `planned` says whether those count whose time has not come."""
    if not planned:
        filters = {**filters, "expected_start_time": {"before_": (datetime.now(UTC) + SKEW).isoformat()}}
    found: dict[str, FlowRun] = {}
    read: list[tuple[str, datetime | None]] = []
    following = filters
    while len(found) < limit:
        size = min(PAGE, limit - len(found))
        page = select(api, size, **following)
        found |= {run.flow_run_id: run for run in page if planned or not run.planned}
        read += [(run.flow_run_id, run.expected) for run in page]
        if len(page) < size:
            break
        following = behind(filters, read)
    return list(found.values())


def cells(run: FlowRun) -> tuple[str, ...]:
    """One evaluation."""
    state = run.type if run.type.title() == run.state else f"{run.type} ({run.state})"
    count = str(len(run.benchmarks) or "–")
    began = local(run.started or run.expected or run.created)
    return run.id, run.name, state, run.backend or "–", count, began, duration(run.seconds)
