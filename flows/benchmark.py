"""The subflow `benchmark`: one benchmark of an evaluation, with a state, logs and tags of its own."""

from pathlib import Path
from typing import Any

from prefect import flow, tags
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from proctor.blocks.job import JobState, Step
from proctor.configs import records
from proctor.tasks.jobs import UNAVAILABLE, fetch, run
from proctor.tasks.records import EvaluationRun, api
from proctor.tasks.scoring import parse
from proctor.tasks.states import end_of
from proctor.tasks.verdict import Ending, Outcome
from proctor.tasks.watch import Watcher


@flow(
    name="benchmark",
    flow_run_name="{name}",
    persist_result=True,
    result_serializer="json",
    validate_parameters=False,
)
async def benchmark(evaluation: str, name: str, step: str, output_dir: str) -> State[Any]:
    """One benchmark of an evaluation: wait for its run to end, fetch what it left, parse the scores."""
    Watcher.of(evaluation).gate.leave(step)
    ended = await end_of(run(evaluation, step, return_state=True))
    if not ended.is_completed():
        return Failed(name=ended.name, message=ended.message)
    if (await ended.aresult()).state is JobState.CANCELLED:
        return Cancelled(message=f"{name} was cancelled")
    fetched = await end_of(fetch(evaluation, step, Path(output_dir), return_state=True))
    if not fetched.is_completed():
        return Failed(message=f"{name} ran, but its results cannot be fetched: {fetched.message}")
    parsed = await end_of(parse(evaluation, step, return_state=True))
    if not parsed.is_completed():
        return Failed(message=f"{name} ran, but has no scores: {parsed.message}")
    scores = await parsed.aresult()
    return Completed(message=scores, data=scores)


async def run_benchmark(started: EvaluationRun, step: Step, output_dir: Path, watcher: Watcher) -> Outcome:
    """The subflow of one benchmark, begun when the gate lets it; what it ends in is a value, never an exception."""
    await watcher.gate.enter(step.name)
    try:
        with tags(records.benchmark_tag(step.benchmark)):
            call = benchmark(started.id, step.benchmark, step.name, str(output_dir), return_state=True)
            state = await end_of(call)
    finally:
        watcher.gate.leave(step.name)
    if state.is_cancelling() and state.state_details.flow_run_id:
        over: State[Any] = Cancelled(message="it had ended when it was cancelled")
        await api().set_flow_run_state(state.state_details.flow_run_id, over, force=True)
        return Outcome(step.benchmark, "cancelled")
    return Outcome(step.benchmark, ending(state), state.message or "")


def ending(state: State[Any]) -> Ending:
    """What the final state of a benchmark's run says about its scores."""
    if state.is_completed():
        return "scored"
    if state.is_cancelled():
        return "cancelled"
    return "unavailable" if state.name == UNAVAILABLE else "failed"
