"""`proctor status ID`: how each benchmark of an evaluation is doing."""

import json
import sys
from typing import Any

import click

from proctor.cli.api import connect, patiently
from proctor.cli.artifacts import Progress, now, progress_document, state_document, table
from proctor.cli.evaluations import FlowRun, find
from proctor.cli.scores import show_end
from proctor.cli.tables import show
from proctor.cli.watch import HEAD, RIGHT, cells, follow, links
from proctor.cli.words import age, duration


@click.command()
@click.argument("evaluation", metavar="ID")
@click.option("--watch", "watching", is_flag=True, help="Until it ends; Ctrl-C stops watching only.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of a table.")
def status(evaluation: str, *, watching: bool, as_json: bool) -> None:
    """How each benchmark of an evaluation is doing."""
    api = connect()
    run = find(api, evaluation)
    if watching:
        ended = follow(api, run, "live" if sys.stdout.isatty() and not as_json else "lines")
        if not as_json:
            sys.exit(show_end(api, ended))
        run = ended
    rows = patiently(lambda: table(api, run)) if watching else table(api, run)
    if as_json:
        click.echo(json.dumps(document(run, rows), indent=1))
        return
    click.echo(headline(run))
    show(HEAD, [cells(row, now()) for row in rows], right=RIGHT)
    for name, where in links(api, run):
        click.echo(f"{name.ljust(7)} {where}")


def headline(run: FlowRun) -> str:
    """The evaluation in one line."""
    since = f" for {age(run.since)}" if not run.final else ""
    words = f": {run.message}" if run.message and run.type in {"FAILED", "CRASHED", "CANCELLED"} else ""
    return f"{run.name}: {run.state}{since} ({duration(run.seconds)} in all){words}"


def document(run: FlowRun, rows: tuple[Progress, ...]) -> dict[str, Any]:
    """The same for programs."""
    servers = [{**state_document(row), "server": row.benchmark, "job": row.job} for row in rows if row.server]
    return {**run.document(), "progress": progress_document(rows), "servers": servers}
