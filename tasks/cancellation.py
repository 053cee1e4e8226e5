"""Hears that somebody cancels a benchmark, or an evaluation that no worker listens to, and lets its jobs go."""

import asyncio
import time

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.logging import get_run_logger

from proctor.configs import records
from proctor.tasks.api import api
from proctor.tasks.pages import every_run
from proctor.tasks.records import EvaluationRun
from proctor.tasks.watch import Watcher

LISTEN_SECONDS = 2.0
WORKER_SECONDS = 6.0
"""How long a worker may take to end the engine of a cancelled evaluation; then the engine does it itself."""


async def listen(run: EvaluationRun, watcher: Watcher) -> None:
    """Until this coroutine is cancelled: release every benchmark of the evaluation that somebody cancels.

    Returns once the evaluation itself was cancelled and no worker ended this process: then all its jobs are released.
    """
    since: float | None = None
    released: set[str] = set()
    while True:
        await asyncio.sleep(LISTEN_SECONDS)
        found = await cancelling(run)
        steps = {str(each.parameters["step"]) for each in found if each.id != run.flow_run_id}
        for step in steps - released:
            if await release_step(watcher, step):
                released.add(step)
        if any(each.id == run.flow_run_id for each in found):
            watcher.cancelled = True
            since = since or time.monotonic()
            if time.monotonic() - since >= WORKER_SECONDS and await _release_all(watcher):
                return


async def cancelling(run: EvaluationRun) -> list[FlowRun]:
    """The runs of the evaluation, its own and those of its benchmarks, that somebody is cancelling."""
    wanted = {
        "tags": {"all_": [records.evaluation_tag(run.id)]},
        "state": {"type": {"any_": [StateType.CANCELLING]}},
    }
    try:
        return await every_run(api(), wanted)
    except Exception as error:  # noqa: BLE001 the API may be away for a while; the benchmarks go on
        get_run_logger().debug("cannot ask for cancellations: %s", error)
        return []


async def release_step(watcher: Watcher, step: str) -> bool:
    """End one step of the jobs; False when that has to be tried again."""
    sight = watcher.sight_of(step)
    if sight is None:
        return False
    try:
        await asyncio.to_thread(watcher.backend.cancel, [sight.handle], step)
    except Exception as error:  # noqa: BLE001 whatever it is, it is tried again, and the other steps are heard
        if watcher.complaints.get(step) != str(error):
            get_run_logger().warning("%s is not released yet: %s", step, error)
        watcher.complaints[step] = str(error)
        return False
    watcher.nudge()
    return True


async def _release_all(watcher: Watcher) -> bool:
    try:
        await asyncio.to_thread(watcher.backend.cancel, [sight.handle for sight in watcher.sights])
    except Exception as error:  # noqa: BLE001
        get_run_logger().warning("the jobs are not released yet: %s", error)
        return False
    watcher.nudge()
    return True
