"""Options that several commands share: which config, and what to change in it."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from proctor.configs.errors import ConfigError
from proctor.configs.load import Loaded, read_config


def config_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds --config-dir, --config-name, --config, -o and -t to a command, which gets the config they name as `loaded`."""

    @wraps(command)
    def with_config(
        config_dir: str | None,
        config_name: str | None,
        config: str | None,
        overrides: tuple[str, ...],
        benchmarks: tuple[str, ...],
        **others: Any,
    ) -> None:
        command(load_from_options(config_dir, config_name, config, overrides, benchmarks), **others)

    decorated: Callable[..., None] = with_config
    for option in reversed(
        [
            click.option("--config-dir", metavar="DIR", help="Folder of the config; `examples` are ours."),
            click.option("--config-name", metavar="NAME", help="Its name, without .yaml."),
            click.option("--config", metavar="FILE", help="The same as one path."),
            click.option("-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value."),
            click.option("-t", "--task", "benchmarks", multiple=True, metavar="NAME", help="Only this benchmark."),
        ]
    ):
        decorated = option(decorated)
    return decorated


def load_from_options(
    config_dir: str | None,
    config_name: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    benchmarks: tuple[str, ...],
) -> Loaded:
    """The config that the options name. Raises ConfigError when they name none, or two."""
    if config and (config_dir or config_name):
        raise ConfigError("--config names a whole path; leave out --config-dir and --config-name")
    if config:
        path = Path(config)
        return read_config(path.parent, path.name, overrides, benchmarks)
    if not config_name:
        raise ConfigError("which config? write --config FILE, or --config-dir DIR --config-name NAME")
    return read_config(config_dir, config_name, overrides, benchmarks)
