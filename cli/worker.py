"""`proctor worker`: a worker on this machine, for the Prefect server of a team."""

import os
import sys
from pathlib import Path

import click

from proctor.cli.api import connect
from proctor.cli.stack import LIMIT, settings, worker_command


@click.command()
@click.option("--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True, help="Evaluations at a time.")
def worker(limit: int) -> None:
    """Run what is put into the work pool, here and until Ctrl-C, and look after the evaluations of this machine.

    The same as `prefect worker start` with the settings that Proctor was measured with. Evaluations that run go on when
    it ends.
    """
    api = connect()
    api.require()
    ours = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"  # the engine's `python`
    patient = {"PREFECT_CLIENT_MAX_RETRIES": "10000"}
    environment = {**settings(), **patient, **os.environ, "PREFECT_API_URL": api.address.url, "PATH": ours}
    command = worker_command(limit)
    os.execve(command[0], command, environment)  # noqa: S606 (this very Python)
