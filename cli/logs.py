"""`proctor logs ID[.BENCHMARK]`: what a benchmark, its model server, or the orchestration printed."""

import json
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import click

from proctor.cli.api import PAGE, PrefectApi, connect
from proctor.cli.artifacts import Progress, table
from proctor.cli.benchmarks import step_of
from proctor.cli.errors import CommandError, MistakeError
from proctor.cli.evaluations import FlowRun, children, find, read, split_id
from proctor.cli.words import moment
from proctor.configs.host_env import on_behalf_of

LOOK_SECONDS = 1.0


@click.command()
@click.argument("evaluation", metavar="ID[.BENCHMARK]")
@click.option("-f", "--follow", is_flag=True, help="Go on until it ends.")
@click.option("--tail", default=200, show_default=True, type=click.IntRange(1), help="How many lines to begin with.")
@click.option("--server", is_flag=True, help="The model server's log instead of a benchmark's.")
@click.option("--flow", is_flag=True, help="The orchestration's log: what Proctor itself did.")
@click.option("--json", "as_json", is_flag=True, help='Each line as a JSON document {"line": ...}.')
def logs(evaluation: str, *, follow: bool, tail: int, server: bool, flow: bool, as_json: bool) -> None:
    """What a benchmark printed, wherever it runs."""
    api = connect()
    name, benchmark = split_id(evaluation)
    run = find(api, name)
    try:
        for line in chosen(api, run, benchmark, follow=follow, tail=tail, server=server, flow=flow):
            click.echo(json.dumps({"line": line}) if as_json else line)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def chosen(  # noqa: PLR0913 (the options of the command)
    api: PrefectApi, run: FlowRun, benchmark: str, *, follow: bool, tail: int, server: bool, flow: bool
) -> Iterator[str]:
    """The lines that the options ask for."""
    if flow:
        return flow_lines(api, run, follow=follow, tail=tail)
    rows = [row for row in table(api, run) if row.step and not row.server]
    if not run.handles or not rows:
        raise CommandError(f"no job of {run.id} was submitted yet ({run.id} is {run.state}); --flow shows what happens")
    step = step_of(run, benchmark, [(row.benchmark, row.step) for row in rows]) if benchmark else None
    if server:
        return kept_server_lines(run, tail) or backend_lines(api, run, step, follow=follow, tail=tail, server=True)
    rows = [row for row in rows if step in {None, row.step}]
    if len(rows) > 1 and follow:
        raise MistakeError(f"--follow one benchmark of {run.id}: {', '.join(f'{run.id}.{row.step}' for row in rows)}")
    return each_step(api, run, rows, follow=follow, tail=tail)


def each_step(api: PrefectApi, run: FlowRun, rows: list[Progress], *, follow: bool, tail: int) -> Iterator[str]:
    """The logs of these benchmarks, one after the other, with a headline each where there are several."""
    for row in rows:
        if len(rows) > 1:
            yield f"==> {row.benchmark} ({row.state}) <=="
        kept = Path(run.folder, row.step, "harness.log")
        if row.final and kept.is_file():
            yield from last_lines(kept, tail)
        else:
            yield from backend_lines(api, run, row.step, follow=follow, tail=tail)


def last_lines(path: Path, tail: int) -> list[str]:
    """The end of a log that came home."""
    with path.open(errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, tail)]


def kept_server_lines(run: FlowRun, tail: int) -> Iterator[str] | None:
    """The logs of the servers of an evaluation that is over, where they came home, with a headline each where several did."""
    kept = sorted(Path(run.folder).glob("server*/harness.log")) if run.final and run.folder else []
    several = len(kept) > 1
    found = (([f"==> {path.parent.name} <=="] if several else []) + last_lines(path, tail) for path in kept)
    return chain.from_iterable(found) if kept else None


def backend_lines(
    api: PrefectApi, run: FlowRun, step: str | None, *, follow: bool, tail: int, server: bool = False
) -> Iterator[str]:
    """The log as the backend has it: of the latest attempt that has this step, or of that one's server."""
    handles = [handle for handle in run.handles if step is None or step in handle.steps]
    if not handles:
        raise CommandError(f"no job of {run.id} has the step {step}")
    from proctor.cli import with_prefect  # noqa: PLC0415 (imports Prefect)

    with_prefect.meant_for({"PREFECT_API_URL": api.address.url})
    with on_behalf_of(run.id):
        yield from with_prefect.backend_of(run).logs(handles[-1], None if server else step, follow=follow, tail=tail)


def flow_lines(api: PrefectApi, run: FlowRun, *, follow: bool, tail: int) -> Iterator[str]:
    """What Prefect recorded for the evaluation and its benchmarks; with `follow`, until it is over."""
    ids = [run.flow_run_id, *(child.flow_run_id for child in children(api, run.id))]
    rows = log_page(api, {"flow_run_id": {"any_": ids}}, "TIMESTAMP_DESC", min(tail, PAGE))[::-1]
    yield from map(log_line, rows)
    seen = {row["id"] for row in rows}
    last = rows[-1]["timestamp"] if rows else datetime.now(UTC).isoformat()
    while follow:
        over = read(api, run.flow_run_id).final
        ids = [run.flow_run_id, *(child.flow_run_id for child in children(api, run.id))]
        fresh = log_page(api, {"flow_run_id": {"any_": ids}, "timestamp": {"after_": last}}, "TIMESTAMP_ASC", PAGE)
        new = [row for row in fresh if row["id"] not in seen]
        yield from map(log_line, new)
        seen |= {row["id"] for row in new}
        last = new[-1]["timestamp"] if new else last
        if over and not new:
            return
        time.sleep(LOOK_SECONDS)


def log_page(api: PrefectApi, wanted: dict[str, Any], order: str, limit: int) -> list[dict[str, Any]]:
    """One page of Prefect's log records."""
    return list(api.post("/logs/filter", logs=wanted, sort=order, limit=limit))


def log_line(row: dict[str, Any]) -> str:
    """One record of Prefect's log."""
    time_of_day = moment(row["timestamp"])
    clock = time_of_day.astimezone().strftime("%H:%M:%S") if time_of_day else ""
    level = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}.get(row["level"], str(row["level"]))
    return f"{clock} {level:<7} {row['message']}"
