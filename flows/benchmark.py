"""The subflow `benchmark`: one benchmark of an evaluation, with a state, logs and tags of its own."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed

from proctor.blocks.job import JobState, Step
from proctor.tasks.children import BenchmarkRuns
from proctor.tasks.jobs import UNAVAILABLE, fetch, run
from proctor.tasks.records import EvaluationRun
from proctor.tasks.scoring import parse
from proctor.tasks.states import end_of
from proctor.tasks.verdict import Ending, Outcome
from proctor.tasks.watch import Watcher


@flow(name="benchmark", validate_parameters=False)
async def benchmark(evaluation: str, name: str, step: str, output_dir: str) -> State[Any]:
    """One benchmark of an evaluation: wait for its run to end, fetch what it left, parse the scores."""
    ended = await end_of(run(evaluation, step, return_state=True))
    if not ended.is_completed():
        return Failed(name=ended.name, message=ended.message)
    if (await ended.aresult()).state is JobState.CANCELLED:
        why = Watcher.of(evaluation).ended_why.get(step)
        return Cancelled(message=f"{name} was cancelled" + (f" ({why})" if why else ""))
    fetched = await end_of(fetch(evaluation, step, Path(output_dir), return_state=True))
    if not fetched.is_completed():
        return Failed(name=fetched.name, message=f"{name} ran, but its results cannot be fetched: {fetched.message}")
    parsed = await end_of(parse(evaluation, step, return_state=True))
    if not parsed.is_completed():
        return Failed(message=f"{name} ran, but has no scores: {parsed.message}")
    return Completed(message=await parsed.aresult())


async def run_benchmark(started: EvaluationRun, step: Step, output_dir: Path, runs: BenchmarkRuns) -> Outcome:
    """The run of one benchmark, as a subflow of its evaluation's; what it ends in is a value, never an exception."""
    try:
        state = await drive(started, step, output_dir, runs)
    except Exception as error:  # noqa: BLE001 the other benchmarks go on, whatever it is
        get_run_logger().exception("%s cannot be followed", step.benchmark)
        return Outcome(step.benchmark, "failed", f"it cannot be followed: {type(error).__name__}: {error}")
    return Outcome(step.benchmark, ending(state), state.message or "")


async def drive(started: EvaluationRun, step: Step, output_dir: Path, runs: BenchmarkRuns) -> State[Any]:
    """Begin the run of a benchmark, or find it again, and see it to its end, which is the answer."""
    parameters = {
        "evaluation": started.id,
        "name": step.benchmark,
        "step": step.name,
        "output_dir": str(output_dir),
    }
    flow_run = await runs.begin(step, parameters)
    state = flow_run.state
    if state is None or not state.is_completed():
        with runs.inside(flow_run):
            state = await benchmark.fn(**parameters)
            state = await runs.end(flow_run, state)
    return state


def ending(state: State[Any]) -> Ending:
    """What the final state of a benchmark's run says about its scores."""
    if state.is_completed():
        return "scored"
    if state.is_cancelled():
        return "cancelled"
    return "unavailable" if state.name == UNAVAILABLE else "failed"
