"""`proctor doctor [CONFIG]`: what would go wrong, and what to do about it, before anything is started."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from proctor.blocks.finding import Finding, ok, problem
from proctor.cli.checks import check_config, check_server
from proctor.cli.options import load_from_options
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import LocalExecution

SIGNS = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "problem": ("PROBLEM", "red")}


@click.command()
@click.argument("file", metavar="[CONFIG]", required=False)
@click.option("--config-dir", metavar="DIR", help="Folder of the config; `examples` are ours.")
@click.option("--config-name", metavar="NAME", help="Its name, without .yaml.")
@click.option("-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value.")
@click.option("-t", "--task", "benchmarks", multiple=True, metavar="NAME", help="Only this benchmark.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def doctor(
    file: str | None,
    config_dir: str | None,
    config_name: str | None,
    overrides: tuple[str, ...],
    benchmarks: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Check what a config needs: its variables, endpoint, images, folders, login, limits and destinations.

    Without a config, what every evaluation on this machine needs. Starts nothing, but asks the endpoint one real
    question. Exit code 1 when there is a problem.
    """
    if file and not Path(file).suffix:
        config_name, file = file, None
    found: list[Finding] = []
    for finding in findings(file, config_dir, config_name, overrides, benchmarks):
        found.append(finding)
        if not as_json:
            show(finding)
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=1))
    sys.exit(1 if any(each.level == "problem" for each in found) else 0)


def findings(
    file: str | None,
    config_dir: str | None,
    config_name: str | None,
    overrides: tuple[str, ...],
    benchmarks: tuple[str, ...],
) -> Iterator[Finding]:
    """One after the other, as they come."""
    yield check_server()
    if file or config_name:
        try:
            loaded = load_from_options(config_dir, config_name, file, overrides, benchmarks)
            yield ok("the config is well-formed")
            yield from check_config(loaded.config)
        except ConfigError as error:
            yield problem(str(error), "correct the config")
    else:
        from proctor.blocks.docker.doctor import examine  # noqa: PLC0415

        yield from examine(LocalExecution(), [])


def show(finding: Finding) -> None:
    """One finding as a line, and what to do as another."""
    word, colour = SIGNS[finding.level]
    click.echo(f"{click.style(word.ljust(8), fg=colour)} {finding.what}")
    if finding.do:
        click.echo(f"         -> {finding.do}")
