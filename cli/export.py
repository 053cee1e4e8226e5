"""`proctor export ID...`: the results of evaluations to files or other places, from Prefect's state store."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proctor.cli.api import PrefectApi, connect
from proctor.cli.artifacts import results
from proctor.cli.errors import CommandError, MistakeError
from proctor.cli.evaluations import FlowRun, find
from proctor.configs import records
from proctor.configs.export_schema import Destination, DestinationSettings, Export

if TYPE_CHECKING:
    from proctor.tasks.outgoing import Receipt
    from proctor.tasks.results import EvaluationResult


@click.command()
@click.argument("evaluations", metavar="ID...", nargs=-1, required=True)
@click.option("--dest", type=click.Choice(["local", "mlflow", "wandb", "gsheets"]), default="local", show_default=True)
@click.option(
    "--format",
    "formats",
    type=click.Choice(["json", "csv", "markdown", "html"]),
    multiple=True,
    default=["json"],
    help="Which files (local); may be given several times.  [default: json]",
)
@click.option("--output-dir", type=click.Path(file_okay=False), default=".", help="Folder (local); default: here.")
@click.option("--metrics", multiple=True, metavar="PATTERN", help="Only these scores; may be given several times.")
@click.option("--artifacts", is_flag=True, help="Also the benchmarks' results, run configs and logs.")
@click.option("-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE", help="A setting of export.DEST.")
def export(
    evaluations: tuple[str, ...],
    dest: Destination,
    formats: tuple[str, ...],
    output_dir: str,
    overrides: tuple[str, ...],
    **others: Any,
) -> None:
    """Export the results of evaluations; again is as good as once.

    Settings come from each evaluation's own config, changed by -o. With several ids, files go to a folder for each.
    """
    api = connect()
    runs = [find(api, text) for text in evaluations]
    found = [(run, scores_of(api, run)) for run in runs]
    given: dict[str, Any] = {name: value for name, value in others.items() if value}
    for run, result in found:
        if dest == "local":
            folder = str(Path(output_dir, run.id) if len(runs) > 1 else Path(output_dir))
            given |= {"format": list(formats), "output_dir": folder}
        receipt = send_one(run, result, dest, settings_of(run, dest, given, overrides))
        record(api, run, receipt)
        for line in receipt.where.split(", "):
            click.echo(line)


def scores_of(api: PrefectApi, run: FlowRun) -> "EvaluationResult":
    """The results of an evaluation. Raises CommandError when it has none."""
    result = results(api, run)
    if result is None:
        raise CommandError(
            f"evaluation {run.id} has no results (it is {run.state}); `proctor status {run.id}` says more"
        )
    return result


def settings_of(
    run: FlowRun, dest: Destination, given: dict[str, Any], overrides: Sequence[str]
) -> DestinationSettings:
    """The settings of the evaluation's config, then those of the command line. Raises MistakeError."""
    from pydantic import ValidationError  # noqa: PLC0415 (only when there is something to export)

    from proctor.configs.overrides import parse_override  # noqa: PLC0415

    own = ((run.parameters.get("config") or {}).get("export") or {}).get(dest) or {}
    changes = {each.path[-1]: each.value for each in map(parse_override, overrides)}
    try:
        settings = Export.model_validate({dest: {**own, **given, **changes}})
    except ValidationError as error:
        first = error.errors()[0]
        raise MistakeError(f"export.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    chosen: DestinationSettings = getattr(settings, dest)
    return chosen


def send_one(run: FlowRun, result: "EvaluationResult", dest: Destination, settings: DestinationSettings) -> "Receipt":
    """Export one evaluation. Raises CommandError in words for the user."""
    from proctor.blocks.errors import ExportError  # noqa: PLC0415
    from proctor.tasks.exporters.dispatch import send  # noqa: PLC0415

    try:
        return send(result, dest, settings, run.folder if Path(run.folder).is_dir() else ".")
    except ExportError as error:
        raise (CommandError if error.again else MistakeError)(f"{run.id} is not exported: {error}") from None


def record(api: PrefectApi, run: FlowRun, receipt: "Receipt") -> None:
    """Keep the receipt with the evaluation."""
    api.post(
        "/artifacts/",
        key=records.export_key(receipt.destination, run.id),
        type="table",
        data=json.dumps([receipt.row()]),
        description=receipt.where,
        flow_run_id=run.flow_run_id,
    )
