"""The command line `proctor`: thin commands, each in a file of its own."""

import os
import sys

import click

from proctor.cli.lazy import Lazy, LazyGroup
from proctor.configs.errors import ConfigError

COMMANDS = {
    "run": Lazy("proctor.cli.run", "run", "Run an evaluation."),
    "doctor": Lazy("proctor.cli.doctor", "doctor", "Check what a config needs, before anything is started."),
    "demo": Lazy("proctor.cli.demo", "demo", "Run the embedded demo: a small real model, three benchmarks."),
    "ls": Lazy(
        "proctor.cli.ls", "ls", "List evaluations (`ls runs`), benchmarks (`ls tasks`) or shapes (`ls shapes`)."
    ),
    "status": Lazy("proctor.cli.status", "status", "How each benchmark of an evaluation is doing."),
    "info": Lazy("proctor.cli.info", "info", "Everything that is recorded about an evaluation."),
    "logs": Lazy("proctor.cli.logs", "logs", "What a benchmark printed."),
    "kill": Lazy("proctor.cli.kill", "kill", "End an evaluation or one of its benchmarks."),
    "resume": Lazy("proctor.cli.resume", "resume", "Go on with an evaluation that ended too early."),
    "export": Lazy("proctor.cli.export", "export", "Write the results of an evaluation as files."),
    "up": Lazy("proctor.cli.up", "up", "Start this machine's Prefect server and worker, once for all commands."),
    "worker": Lazy("proctor.cli.worker", "worker", "Start a worker here for the Prefect server of a team."),
    "down": Lazy("proctor.cli.up", "down", "End them; jobs go on."),
    "reconcile": Lazy(
        "proctor.cli.up", "reconcile", "Mend evaluations whose process died, release jobs nobody waits for."
    ),
    "reap": Lazy("proctor.cli.up", "reap", "End what evaluations that are over left behind."),
}
"""Every command; a new one is a file and a line here."""

cli = LazyGroup(COMMANDS, help="LLM evaluations as Prefect flows.")
click.version_option(package_name="proctor")(cli)


def main() -> None:
    """Run the command line; a user's mistake is one sentence on stderr and an exit code, never a traceback."""
    try:
        sys.exit(cli.main(prog_name="proctor", standalone_mode=False) or 0)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ConfigError as error:
        fail(str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if isinstance(error, expected()):
            fail(str(error), 1)
        raise


def expected() -> tuple[type[Exception], ...]:
    """The errors whose text is made for users."""
    from proctor.blocks.errors import BackendError, JobFailedError, ResultError  # noqa: PLC0415 (only after a failure)

    return BackendError, JobFailedError, ResultError


def fail(message: str, exit_code: int) -> None:
    """Say what went wrong and end."""
    click.echo(f"proctor: {message}", err=True)
    sys.exit(exit_code)
