"""`proctor resume ID`: go on with an evaluation that ended before its benchmarks did."""

import os
import sys
from datetime import UTC, datetime

import click
from pydantic import ValidationError

from proctor.cli.answer import Answer, json_option
from proctor.cli.api import PrefectApi, connect
from proctor.cli.errors import CommandError
from proctor.cli.evaluations import FlowRun, find, read
from proctor.cli.scores import show_end
from proctor.cli.start import let_go
from proctor.cli.variables import handed_over
from proctor.cli.watch import follow
from proctor.configs.execution_schema import LeptonExecution
from proctor.configs.host_env import hand_over, hand_over_also
from proctor.configs.lepton_login import login_variables
from proctor.configs.records import ENGINE_LABEL, RELEASED_LABEL
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.engine_lock import engine_place
from proctor.tasks.mending import AWAITING_HOST
from proctor.tasks.plan import plan

ENDED = ("FAILED", "CRASHED", "CANCELLED")


@click.command()
@click.argument("evaluation", metavar="ID")
@click.option("--elsewhere", is_flag=True, help="Its machine is gone for good: what ran there is lost and runs again.")
@click.option("--detach", is_flag=True, help="Return at once instead of watching.")
@json_option
def resume(evaluation: str, *, elsewhere: bool, detach: bool, answer: Answer) -> None:
    """Go on with any evaluation that did not get through: failed, cancelled, crashed, out of sight, or without a process.

    Benchmarks that have ended by themselves are kept. What was cancelled runs again. One that runs on a cloud is told
    the login of this shell, which may be fresher than its own.
    """
    api = connect()
    run = find(api, evaluation)
    if api.address.on_this_machine and (fresh := fresh_login(run)):
        hand_over_also(run.id, fresh)
        click.echo(f"{run.id} is running; from now on it logs in with what this shell has")
        return
    if reason := refusal(run, elsewhere=elsewhere):
        raise CommandError(f"{run.id} {reason}")
    if api.address.on_this_machine and (handed := variables(run)):
        hand_over(run.id, handed)
    prepare(api, run, elsewhere=elsewhere)
    let_go(api, run.flow_run_id, name="AwaitingRetry")
    if detach:
        answer.give(read(api, run.flow_run_id).document(), run.id)
        return
    live = sys.stdout.isatty() and not answer.as_json
    sys.exit(show_end(api, follow(api, run, "live" if live else "lines"), answer))


def refusal(run: FlowRun, *, elsewhere: bool) -> str:
    """Why an evaluation cannot be resumed; empty when it can."""
    if not run.deployed:
        return (
            "was started inside a process of its own and not by a worker; only starting it again there goes on with it"
        )
    if run.type in ENDED:
        return ""
    if run.type not in {"RUNNING", "SCHEDULED"} or (run.type == "SCHEDULED" and run.state != AWAITING_HOST):
        return f"is {run.state}; only an evaluation that ended early, or whose process is gone, can be resumed"
    engine = str(run.labels.get(ENGINE_LABEL, ""))
    place = engine_place(engine)
    if place == "dead" or (place == "elsewhere" and elsewhere):
        return ""
    if place == "elsewhere":
        host = engine.partition(" ")[0]
        return f"is {run.state}, and its jobs belong to {host}: resume it there, or with --elsewhere if that is gone for good"
    return f"is {run.state}, and its process lives; watch it: proctor status {run.id} --watch"


def prepare(api: PrefectApi, run: FlowRun, *, elsewhere: bool) -> None:
    """Write into its record what the next engine must know."""
    labels: dict[str, object] = {RELEASED_LABEL: True} if run.type == "CANCELLED" else {}
    labels |= {ENGINE_LABEL: ""} if elsewhere else {}
    if labels:
        api.patch(f"/flow_runs/{run.flow_run_id}/labels", **labels)


def fresh_login(run: FlowRun) -> dict[str, str]:
    """What this shell logs in to the cloud with, for a run there whose process lives: its tokens expire meanwhile."""
    if run.type != "RUNNING" or engine_place(str(run.labels.get(ENGINE_LABEL, ""))) in {"dead", "elsewhere"}:
        return {}
    execution = EvaluationConfig.model_validate(run.parameters["config"]).execution
    names = login_variables(execution) if isinstance(execution, LeptonExecution) else ()
    return {name: os.environ[name] for name in names if name in os.environ}


def variables(run: FlowRun) -> dict[str, str]:
    """The variables of this shell that it needs; none where its config is in a file of the worker's that was never read.

    Raises ConfigError for one that is not set, CommandError when the config is none of this version.
    """
    document = run.parameters.get("config") or {}
    if "file" in document:
        return {}
    try:
        config = EvaluationConfig.model_validate(document)
    except ValidationError as error:
        raise CommandError(f"the config of {run.id} is none of this version: {error.errors()[0]['msg']}") from error
    planned = plan(config, run.id, run.created or datetime.now(UTC))
    return handed_over(config, planned.jobs, os.environ)
