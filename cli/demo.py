"""`proctor demo`: a small real model and three benchmarks on this machine, through the real path."""

import ctypes
import os
import sys
from pathlib import Path

import click

from proctor.cli.answer import Answer, json_option
from proctor.cli.errors import MistakeError
from proctor.cli.run import evaluate
from proctor.cli.stack import listening, port_of
from proctor.configs.load import read_config

OPENMP = "libgomp.so.1"
"""What the wheel of the demo's engine is linked with and does not carry."""


@click.command()
@click.option(
    "-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value of the demo's config."
)
@click.option("--detach", is_flag=True, help="Print the evaluation's id and return.")
@json_option
def demo(overrides: tuple[str, ...], *, detach: bool, answer: Answer) -> None:
    """Measure a small real model with three benchmarks, as local processes: no container, key or GPU needed."""
    check_openmp()
    import proctor.demo  # noqa: PLC0415 (only its folder is wanted)

    folder = Path(str(proctor.demo.__file__)).parent
    os.environ["PROCTOR_DEMO"] = str(folder)
    with listening([]) as probe:
        port = port_of(probe)
    loaded = read_config(folder, "demo", [f"deployment.port={port}", *overrides], ())
    sys.exit(evaluate(loaded.config, answer, detach=detach))


def check_openmp() -> None:
    """Raise MistakeError where the model server could not start."""
    try:
        ctypes.CDLL(OPENMP)
    except OSError:
        raise MistakeError(
            f"the demo's model server needs {OPENMP}; install it first, on Debian: sudo apt-get install libgomp1"
        ) from None
