"""The flow `evaluate`: one model measured by some benchmarks at one place, from config to scores."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import Abort
from prefect.flows import Flow
from prefect.states import Cancelled, Completed, Crashed, Failed

from proctor.blocks.errors import BackendUnavailableError, ConfigError
from proctor.blocks.registry import make_backend
from proctor.configs import records
from proctor.configs.config_file import ConfigFile
from proctor.configs.host_env import current_evaluation, forget
from proctor.configs.schema import EvaluationConfig
from proctor.flows.exports import export_all
from proctor.flows.supervise import follow_all, submit_all
from proctor.tasks.api import api, prompt_api
from proctor.tasks.deployed import placed
from proctor.tasks.engine_lock import engine_lock, silenced
from proctor.tasks.host import stay_with_its_machine
from proctor.tasks.jobs import UNAVAILABLE
from proctor.tasks.named_config import kept, pinned
from proctor.tasks.plan import Plan
from proctor.tasks.planning import folder_of, plan
from proctor.tasks.publish import publish_plan
from proctor.tasks.records import EvaluationRun, record_released, record_start, this_run
from proctor.tasks.release import close_children, release_jobs
from proctor.tasks.states import end_of
from proctor.tasks.verdict import Verdict, verdict
from proctor.tasks.watch import Watcher


async def release_everything(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """On cancellation, in whatever process: end the jobs that the run's labels name and close its benchmarks' runs."""
    async with get_client() as client:
        await release_jobs(client, await client.read_flow_run(flow_run.id))
        await close_children(client, records.evaluation_id(flow_run.id))


@flow(name="evaluate", on_cancellation=[release_everything], persist_result=True, result_serializer="json")
async def evaluate(config: EvaluationConfig | ConfigFile) -> State[Any]:
    """Measure one model by some benchmarks at one place: resolve, plan, submit, watch, fetch, parse, export.

    A config by the name of its file is read when the run first starts.
    Started again after a crash, it goes on where it was: finished benchmarks are kept, running ones adopted.
    """
    async with prompt_api():
        return await drive(config)


async def drive(asked: EvaluationConfig | ConfigFile) -> State[Any]:
    """The evaluation of this run, once no other engine drives it; the answer is the final state."""
    started = await this_run()
    try:
        named = await pinned(started, asked) if isinstance(asked, ConfigFile) else asked
        config = placed(named, started.tags)
        if config is not named:
            await kept(started, config)
    except ConfigError as error:
        return Failed(message=str(error))
    await stay_with_its_machine(started, config.execution)
    output_dir = folder_of(config, started)
    async with engine_lock(output_dir) as waited:
        if waited or started.engine:
            await silenced((await this_run(fresh=True)).engine)
            started = await this_run(fresh=True)
            if started.over:
                raise Abort("another engine has finished this evaluation")
        current_evaluation.set(started.id)
        done = True
        try:
            end, done = await measure(started, config, output_dir)
        except ConfigError as error:
            end = Failed(message=str(error))
        except BackendUnavailableError as error:
            end = Failed(name=UNAVAILABLE, message=str(error))
        except Exception:
            with suppress(Exception):  # what could not be ended now is found by `reconcile`
                await close_children(api(), started.id, Crashed(message="its evaluation ended by an error"))
            raise
        if done and end.name != UNAVAILABLE:  # who resumes or releases it needs the variables again
            forget(started.id)
        return end


async def measure(started: EvaluationRun, config: EvaluationConfig, output_dir: Path) -> tuple[State[Any], bool]:
    """Everything that one engine does for its evaluation: the final state, and whether all its jobs are released."""
    await record_start(started, config, output_dir)
    planning = await end_of(plan(config, started, return_state=True))
    if not planning.is_completed():
        return Failed(message=planning.message), True
    planned: Plan = await planning.aresult()
    async with Watcher.watching(make_backend(config.execution), config, planned) as watcher:
        later, _ = await asyncio.gather(submit_all(started, watcher), publish_plan(started, watcher))
        outcomes, cancelled = await follow_all(started, watcher, later)
        if cancelled and not watcher.unreleased:
            await record_released(started)
        trouble, remark = await export_all(started, watcher, outcomes)
    end = verdict(outcomes, cancelled=cancelled, trouble=trouble, remark=remark)
    return final_state(end), not watcher.unreleased


def final_state(end: Verdict) -> State[Any]:
    """The state that the evaluation's flow run ends in."""
    make = {"COMPLETED": Completed, "FAILED": Failed, "CANCELLED": Cancelled}[end.type]
    return make(name=end.name, message=end.message, data=end.message)
