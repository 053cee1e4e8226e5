"""`proctor run`: one evaluation, from a config."""

import sys

import click

from proctor.cli.answer import Answer, json_option
from proctor.cli.options import config_options
from proctor.configs.load import Loaded
from proctor.configs.schema import EvaluationConfig


@click.command()
@config_options
@click.option(
    "--dry-run", "only_show", is_flag=True, help="Show the resolved config and what would be sent; start nothing."
)
@click.option("--detach", is_flag=True, help="Print the evaluation's id and return.")
@click.option("--wait", is_flag=True, help="Wait for the end without showing progress.")
@json_option
def run(loaded: Loaded, *, only_show: bool, detach: bool, wait: bool, answer: Answer) -> None:
    """Measure a model: the config says which, by what and where.

    Ctrl-C stops watching, not the evaluation. The exit code is 0 when every benchmark has its scores, 1 when one has
    none, 2 for a mistake in the config (then nothing was started).
    """
    if detach and wait:
        raise click.UsageError("--detach returns at once and --wait waits; choose one")
    if only_show:
        from proctor.cli.dry_run import document, dry_run  # noqa: PLC0415 (the planner, only here)

        answer.give(document(loaded)) if answer.as_json else click.echo(dry_run(loaded))
        return
    for note in loaded.notes:
        click.echo(f"note: {note}", err=True)
    sys.exit(evaluate(loaded.config, answer, detach=detach, wait=wait))


def evaluate(config: EvaluationConfig, answer: Answer, *, detach: bool = False, wait: bool = False) -> int:
    """Start an evaluation and see it through; the answer is the exit code of its outcome."""
    from proctor.cli.scores import show_end  # noqa: PLC0415 (--dry-run needs neither server nor HTTP)
    from proctor.cli.start import start  # noqa: PLC0415
    from proctor.cli.watch import follow  # noqa: PLC0415

    api, started = start(config, lambda sentence: click.echo(sentence, err=True))
    if detach:
        answer.give(started.document(), started.id)
        return 0
    click.echo(f"evaluation {started.id} started; Ctrl-C stops watching only", err=True)
    live = sys.stderr.isatty() and sys.stdout.isatty() and not answer.as_json
    return show_end(api, follow(api, started, "quiet" if wait else "live" if live else "lines"), answer)
