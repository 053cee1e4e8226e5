"""`proctor resume ID`: go on with an evaluation that ended before its benchmarks did."""

import os
import sys
from datetime import UTC, datetime

import click

from proctor.cli.api import connect
from proctor.cli.errors import CommandError
from proctor.cli.evaluations import FlowRun, find
from proctor.cli.scores import show_end
from proctor.cli.start import let_go
from proctor.cli.variables import handed_over
from proctor.cli.watch import follow
from proctor.configs.host_env import hand_over
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.plan import plan


@click.command()
@click.argument("evaluation", metavar="ID")
@click.option("--detach", is_flag=True, help="Return at once instead of watching.")
def resume(evaluation: str, *, detach: bool) -> None:
    """Go on with an evaluation that failed, crashed or was out of sight; finished benchmarks are kept."""
    api = connect()
    run = find(api, evaluation)
    if run.type not in {"FAILED", "CRASHED"}:
        raise CommandError(f"{run.id} is {run.state}; only an evaluation that failed or crashed can be resumed")
    if api.address.on_this_machine and (handed := variables(run)):
        hand_over(run.id, handed)
    let_go(api, run.flow_run_id, name="AwaitingRetry")
    if detach:
        click.echo(run.id)
        return
    sys.exit(show_end(api, follow(api, run, "live" if sys.stdout.isatty() else "lines")))


def variables(run: FlowRun) -> dict[str, str]:
    """The variables of this shell that it needs. Raises ConfigError for one that is not set."""
    config = EvaluationConfig.model_validate(run.parameters["config"])
    planned = plan(config, run.id, run.created or datetime.now(UTC))
    return handed_over(config, planned.jobs, os.environ)
