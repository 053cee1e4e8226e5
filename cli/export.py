"""`proctor export ID...`: the results of evaluations to files or other places, from Prefect's state store."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from proctor.cli.answer import Answer, json_option
from proctor.cli.api import PrefectApi, ServerAwayError, connect
from proctor.cli.artifacts import results
from proctor.cli.errors import CommandError, MistakeError
from proctor.cli.evaluations import FlowRun, find
from proctor.configs import records
from proctor.configs.errors import ConfigError
from proctor.configs.export_schema import Destination, DestinationSettings, Export

if TYPE_CHECKING:
    from proctor.configs.overrides import Override
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
    help="Which files (local); may be given several times.  [default: the config's, or json]",
)
@click.option(
    "--output-dir", type=click.Path(file_okay=False), help="Folder (local).  [default: the config's, or here]"
)
@click.option("--metrics", multiple=True, metavar="PATTERN", help="Only these scores; may be given several times.")
@click.option("--artifacts", is_flag=True, help="Also the benchmarks' results, run configs and logs.")
@click.option("-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE", help="A setting of export.DEST.")
@json_option
def export(
    evaluations: tuple[str, ...],
    dest: Destination,
    formats: tuple[str, ...],
    output_dir: str | None,
    overrides: tuple[str, ...],
    answer: Answer,
    **others: Any,
) -> None:
    """Export the results of evaluations; again is as good as once.

    Settings come from each evaluation's own config, changed by the options. With several ids, files go to a folder for
    each, and one that cannot be exported does not stop the others.
    """
    if dest != "local" and (formats or output_dir):
        raise MistakeError(f"--format and --output-dir are for --dest local, not for {dest}")
    changes = [placed(text, dest) for text in overrides]
    given = {"format": list(formats), "output_dir": output_dir, **others}
    given = {name: value for name, value in given.items() if value}
    api = connect()
    alone, receipts, codes = len(evaluations) == 1, [], []
    for text in evaluations:
        code, receipt = export_one(api, text, dest, given, changes, alone=alone)
        codes.append(code)
        if receipt:
            receipts.append(receipt)
            for line in str(receipt["where"]).split(", "):
                answer.remark(line)
    if answer.as_json:
        answer.give(receipts)
    sys.exit(1 if 1 in codes else max(codes))


def export_one(
    api: PrefectApi,
    text: str,
    dest: Destination,
    given: Mapping[str, Any],
    changes: Sequence["Override"],
    *,
    alone: bool,
) -> tuple[int, dict[str, Any]]:
    """Export one evaluation, or say why not: the exit code for it, and its receipt where it was exported."""
    try:
        run = find(api, text)
        result = scores_of(api, run)
        receipt = send_one(run, result, dest, settings_of(run, dest, given, changes, alone=alone))
    except ServerAwayError:
        raise
    except (CommandError, ConfigError) as error:
        click.echo(f"proctor: {error.message if isinstance(error, CommandError) else error}", err=True)
        return error.exit_code, {}
    record(api, run, receipt)
    if receipt.missing:
        click.echo(
            f"proctor: {run.id} is exported without the files of {receipt.missing}: they are not on this machine",
            err=True,
        )
    return 0, {"id": run.id, **receipt.row()}


def scores_of(api: PrefectApi, run: FlowRun) -> "EvaluationResult":
    """The results of an evaluation. Raises CommandError when it has none."""
    result = results(api, run)
    if result is None:
        raise CommandError(
            f"evaluation {run.id} has no results (it is {run.state}); `proctor status {run.id}` says more"
        )
    return result


def placed(text: str, dest: Destination) -> "Override":
    """A change of `KEY`, `DEST.KEY` or `export.DEST.KEY` at its place in a config. Raises MistakeError for another DEST."""
    from proctor.configs.overrides import parse_override  # noqa: PLC0415 (only with overrides)

    change = parse_override(text)
    path = change.path[1:] if change.path[0] == "export" else change.path
    if path[:1] == (dest,):
        path = path[1:]
    elif path[:1] and path[0] in get_args(Destination):
        raise MistakeError(f"-o {text}: this is an export to {dest}, which has no settings of {path[0]}")
    return replace(change, path=("export", dest, *path))


def settings_of(
    run: FlowRun, dest: Destination, given: Mapping[str, Any], changes: Sequence["Override"], *, alone: bool
) -> DestinationSettings:
    """The settings of the evaluation's config, then those of the command line. Raises ConfigError or MistakeError."""
    from proctor.configs.overrides import apply  # noqa: PLC0415 (only when there is something to export)
    from proctor.tasks.outgoing import located  # noqa: PLC0415

    config = run.parameters.get("config") or {}
    own = located(validated(dest, (config.get("export") or {}).get(dest) or {}), config.get("base_dir"))
    usual = {"format": ["json"], "output_dir": "."} if dest == "local" else {}
    tree: dict[str, Any] = {"export": {dest: {**usual, **own.model_dump(exclude_unset=True), **given}}}
    for change in changes:
        apply(tree, change)
    settings: dict[str, Any] = tree["export"][dest]
    if dest == "local" and not alone:
        settings["output_dir"] = str(Path(settings.get("output_dir") or ".", run.id))
    return validated(dest, settings)


def validated(dest: Destination, settings: Mapping[str, Any]) -> DestinationSettings:
    """The settings of a destination. Raises MistakeError for what they cannot be."""
    from pydantic import ValidationError  # noqa: PLC0415 (only when there is something to export)

    try:
        found: DestinationSettings = getattr(Export.model_validate({dest: settings}), dest)
    except ValidationError as error:
        first = error.errors()[0]
        raise MistakeError(f"export.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return found


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
