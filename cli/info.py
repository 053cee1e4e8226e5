"""`proctor info ID`: everything that is recorded about an evaluation."""

import json
from collections.abc import Mapping
from typing import Any, get_args

import click

from proctor.cli.api import PrefectApi, connect, ui_url
from proctor.cli.artifacts import Progress, latest, now, progress_document, table_of
from proctor.cli.evaluations import FlowRun, find
from proctor.cli.scores import export_folder
from proctor.cli.words import duration, local
from proctor.configs import records
from proctor.configs.export_schema import Destination


@click.command()
@click.argument("evaluation", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, with the whole config.")
def info(evaluation: str, *, as_json: bool) -> None:
    """Everything that is recorded about an evaluation."""
    api = connect()
    run = find(api, evaluation)
    found = latest(api, records.progress_key(run.id), *export_keys(run))
    if as_json:
        click.echo(json.dumps(document(api, run, found), indent=1))
        return
    facts = lines(api, run, found)
    width = max(len(name) for name, _ in facts)
    for name, text in facts:
        click.echo(f"{name.ljust(width)}  {text}")


def lines(api: PrefectApi, run: FlowRun, found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The facts, those without a value left out; `found` are its artifacts."""
    labels = run.labels
    message = f": {run.message}" if run.message else ""
    facts = [
        ("id", run.id),
        ("name", run.name),
        ("state", f"{run.state}{message}"),
        ("benchmarks", ", ".join(map(timed, benchmarks(run, found)))),
        ("backend", run.backend),
        ("model", next((tag.removeprefix("model:") for tag in run.tags if tag.startswith("model:")), "")),
        ("created", local(run.created)),
        ("started", local(run.started)),
        ("ended", local(run.ended) if run.final else ""),
        ("time", duration(run.seconds)),
        ("user", str(labels.get(records.WHO_LABEL, ""))),
        ("engine", str(labels.get(records.ENGINE_LABEL, ""))),
        (
            "jobs",
            ", ".join(f"{handle.name}{f' ({handle.native_id})' if handle.native_id else ''}" for handle in run.handles),
        ),
        ("output", run.folder),
        ("export", str(export_folder(run)) if run.folder else ""),
        *(("exported", exported(each)) for each in receipts(run, found)),
        ("flow run", run.flow_run_id),
        ("ui", ui_url(api.address.url, run.flow_run_id)),
    ]
    return [(name, text) for name, text in facts if text]


def timed(row: Progress) -> str:
    """A benchmark, and how long it has run where it has."""
    seconds = row.seconds(now())
    return row.benchmark if seconds is None else f"{row.benchmark} ({duration(seconds)})"


def exported(receipt: dict[str, Any]) -> str:
    """A receipt in one line."""
    missing = f", without the files of {receipt['missing']}" if receipt.get("missing") else ""
    return f"{receipt['where']} ({receipt['exported']}){missing}"


def document(api: PrefectApi, run: FlowRun, found: Mapping[str, Any]) -> dict[str, Any]:
    """The same for programs."""
    return {
        **run.document(),
        "tags": list(run.tags),
        "labels": dict(run.labels),
        "jobs": [handle.to_json() for handle in run.handles],
        "progress": progress_document(benchmarks(run, found)),
        "config": run.parameters.get("config"),
        "exports": receipts(run, found),
        "ui": ui_url(api.address.url, run.flow_run_id),
    }


def benchmarks(run: FlowRun, found: Mapping[str, Any]) -> tuple[Progress, ...]:
    """How each benchmark is doing."""
    return tuple(row for row in table_of(run, found.get(records.progress_key(run.id))) if not row.server)


def export_keys(run: FlowRun) -> list[str]:
    """The artifacts that hold receipts of its scores."""
    return [records.export_key(each, run.id) for each in get_args(Destination)]


def receipts(run: FlowRun, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The newest receipt of every destination that has its scores."""
    return [row for key in export_keys(run) for row in found.get(key) or ()]
