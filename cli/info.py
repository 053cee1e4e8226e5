"""`proctor info ID`: everything that is recorded about an evaluation."""

import json
from typing import Any, get_args

import click

from proctor.cli.api import PrefectApi, connect, ui_url
from proctor.cli.artifacts import Progress, now, progress, progress_document
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
    if as_json:
        click.echo(json.dumps(document(api, run), indent=1))
        return
    facts = lines(api, run)
    width = max(len(name) for name, _ in facts)
    for name, text in facts:
        click.echo(f"{name.ljust(width)}  {text}")


def lines(api: PrefectApi, run: FlowRun) -> list[tuple[str, str]]:
    """The facts, those without a value left out."""
    labels = run.labels
    message = f": {run.message}" if run.message else ""
    facts = [
        ("id", run.id),
        ("name", run.name),
        ("state", f"{run.state}{message}"),
        ("benchmarks", ", ".join(map(timed, progress(api, run)))),
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
        *(("exported", exported(each)) for each in receipts(api, run)),
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


def document(api: PrefectApi, run: FlowRun) -> dict[str, Any]:
    """The same for programs."""
    return {
        **run.document(),
        "tags": list(run.tags),
        "labels": dict(run.labels),
        "jobs": [handle.to_json() for handle in run.handles],
        "progress": progress_document(progress(api, run)),
        "config": run.parameters.get("config"),
        "exports": receipts(api, run),
        "ui": ui_url(api.address.url, run.flow_run_id),
    }


def receipts(api: PrefectApi, run: FlowRun) -> list[dict[str, Any]]:
    """The newest receipt of every destination that has its scores."""
    keys = [records.export_key(each, run.id) for each in get_args(Destination)]
    found = api.post("/artifacts/latest/filter", artifacts={"key": {"any_": keys}}, limit=len(keys))
    return [row for artifact in found or [] for row in json.loads(artifact["data"])]
