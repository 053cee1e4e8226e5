"""`proctor run`: one evaluation, from a config."""

import click

from proctor.cli.options import config_options, load_from_options


@click.command()
@config_options
@click.option("--dry-run", is_flag=True, help="Show the resolved config and what would be sent; start nothing.")
def run(
    config_dir: str | None,
    config_name: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    benchmarks: tuple[str, ...],
    *,
    dry_run: bool,
) -> None:
    """Measure a model: the config says which, by what and where."""
    loaded = load_from_options(config_dir, config_name, config, overrides, benchmarks)
    if not dry_run:
        raise click.UsageError("this version shows evaluations only: add --dry-run")
    from proctor.cli.dry_run import dry_run as shown  # noqa: PLC0415 (the planner, only here)

    click.echo(shown(loaded))
