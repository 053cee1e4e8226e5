"""`proctor kill ID[.BENCHMARK]`: end an evaluation, or one of its benchmarks, for good."""

import time

import click

from proctor.blocks.errors import BackendError
from proctor.cli.answer import Answer, json_option
from proctor.cli.api import PrefectApi, connect
from proctor.cli.benchmarks import benchmark_run
from proctor.cli.errors import CommandError
from proctor.cli.evaluations import FlowRun, find, read, split_id
from proctor.configs.host_env import forget
from proctor.configs.records import ENGINE_LABEL, RELEASED_LABEL

PATIENCE = 45.0
"""Seconds that a worker may take: 30 until it kills an engine that does not listen, then the release of its jobs."""
DEAD_PATIENCE = 4.0
"""Seconds when the engine is known to be dead: nobody but us will end anything."""

RELEASE_SECONDS = 5.0
"""How long it may take until the record of an evaluation that was cancelled says that its jobs are gone."""


@click.command()
@click.argument("evaluation", metavar="ID[.BENCHMARK]")
@json_option
def kill(evaluation: str, *, answer: Answer) -> None:
    """End an evaluation, or one of its benchmarks: its jobs and servers are released."""
    api = connect()
    name, benchmark = split_id(evaluation)
    run = find(api, name)
    killed = benchmark_run(api, run, benchmark) if benchmark else run
    if benchmark:
        said = kill_benchmark(api, run, killed)
    elif run.final:
        said = clean_up(api, run)
    else:
        said = kill_evaluation(api, run)
    state = read(api, killed.flow_run_id).type if answer.as_json else ""
    benchmark_name = killed.name if benchmark else None
    answer.give({"id": run.id, "benchmark": benchmark_name, "state": state, "message": said}, said)


def kill_evaluation(api: PrefectApi, run: FlowRun) -> str:
    """Cancel the run; release its jobs ourselves where nobody else does. Says how it ended."""
    cancel(api, run)
    ended = wait_for_end(api, run, patience(run))
    if ended.final:
        if ended.handles and ended.type == "CANCELLED" and not released(api, run):
            release(api, run)
        said = f"{run.id} is {ended.state}{'; its jobs are released' if ended.handles else ''}"
    else:
        click.echo(
            f"nobody ended {run.id} (its process is gone or does not listen); releasing its jobs from here", err=True
        )
        count = release(api, run)
        force(api, run)
        said = f"{run.id} is Cancelled; {count} jobs released from here"
    forget(run.id)
    return said


def kill_benchmark(api: PrefectApi, run: FlowRun, child: FlowRun) -> str:
    """Cancel one benchmark; the others go on. Says how it ended."""
    if child.final:
        return f"{child.name} is already {child.state}"
    cancel(api, child)
    ended = wait_for_end(api, child, patience(run))
    if not ended.final:
        click.echo(f"nobody ended {child.name}; releasing its step from here", err=True)
        release(api, run, str(child.parameters.get("step", "")))
        force(api, child)
    return f"{child.name} of {run.id} is {read(api, child.flow_run_id).state}; the other benchmarks go on"


def clean_up(api: PrefectApi, run: FlowRun) -> str:
    """An evaluation that is over may have left jobs alone because their backend was out of sight."""
    if run.type == "COMPLETED" or not run.handles:
        return f"{run.id} is already {run.state}"
    count = release(api, run)
    return f"{run.id} is already {run.state}; {count} jobs are released"


def cancel(api: PrefectApi, run: FlowRun) -> None:
    """Ask Prefect to cancel; what did not start yet is Cancelled at once."""
    api.post(f"/flow_runs/{run.flow_run_id}/set_state", state={"type": "CANCELLING", "message": "proctor kill"})


def force(api: PrefectApi, run: FlowRun) -> None:
    """Record the end of a run that nobody drives."""
    state = {"type": "CANCELLED", "message": "ended by proctor kill"}
    api.post(f"/flow_runs/{run.flow_run_id}/set_state", state=state, force=True)


def wait_for_end(api: PrefectApi, run: FlowRun, seconds: float) -> FlowRun:
    """The run when it is over, or after that time."""
    deadline = time.monotonic() + seconds
    while True:
        now = read(api, run.flow_run_id)
        if now.final or time.monotonic() > deadline:
            return now
        time.sleep(0.3)


def released(api: PrefectApi, run: FlowRun) -> bool:
    """Whether somebody has released its jobs, or does so within a moment."""
    deadline = time.monotonic() + RELEASE_SECONDS
    while not read(api, run.flow_run_id).labels.get(RELEASED_LABEL):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)
    return True


def patience(run: FlowRun) -> float:
    """How long somebody else may take to end it."""
    from proctor.tasks.engine_lock import engine_place  # noqa: PLC0415 (only where something is ended)

    place = engine_place(str(run.labels.get(ENGINE_LABEL, "")))
    return DEAD_PATIENCE if place == "dead" else PATIENCE


def release(api: PrefectApi, run: FlowRun, step: str | None = None) -> int:
    """End the jobs that the evaluation's labels name, or one step of them, from this process."""
    from proctor.cli import with_prefect  # noqa: PLC0415 (imports Prefect; most kills do without)

    with_prefect.meant_for({"PREFECT_API_URL": api.address.url})
    try:
        return with_prefect.release_step(run, step) if step is not None else with_prefect.release(run.flow_run_id)
    except BackendError as error:
        raise CommandError(
            f"the jobs of {run.id} could not be released: {error}; "
            f"`proctor kill {run.id}` tries it again, and so does `proctor reap` every hour"
        ) from None
