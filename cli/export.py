"""`proctor export ID`: the results of an evaluation as files, from Prefect's state store."""

from pathlib import Path

import click

from proctor.cli.api import connect
from proctor.cli.artifacts import results
from proctor.cli.errors import CommandError, MistakeError
from proctor.cli.evaluations import find


@click.command()
@click.argument("evaluation", metavar="ID")
@click.option("--dest", type=click.Choice(["local"]), default="local", show_default=True, help="Where to.")
@click.option(
    "--format",
    "formats",
    type=click.Choice(["json", "csv", "html"]),
    multiple=True,
    default=["json"],
    help="Which files; may be given several times.  [default: json]",
)
@click.option(
    "--output-dir", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Folder; default: here."
)
def export(evaluation: str, dest: str, formats: tuple[str, ...], output_dir: Path) -> None:
    """Write the results of an evaluation as files."""
    api = connect()
    run = find(api, evaluation)
    result = results(api, run)
    if result is None:
        raise CommandError(
            f"evaluation {run.id} has no results (it is {run.state}); `proctor status {run.id}` says more"
        )
    from proctor.tasks.report import write_report  # noqa: PLC0415 (only when there is something to write)

    try:
        files = write_report(result, output_dir, formats)
    except OSError as error:
        raise MistakeError(f"--output-dir {output_dir}: {error.strerror or error}") from error
    for path in files.values():
        click.echo(path)
