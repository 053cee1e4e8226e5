"""What is not begun again."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

from proctor.blocks.job import JobHandle
from proctor.flows.supervise import restart
from proctor.tasks.records import EvaluationRun
from proctor.tasks.watch import Watcher
from tests.tasks.test_watch import Scripted, planned


def test_a_step_lost_while_its_evaluation_is_cancelled_is_not_started_again() -> None:
    config, what = planned()
    handle = JobHandle("simulated", what.jobs[0].name, what.evaluation, "/r", what.steps)

    async def lose() -> list[JobHandle]:
        async with Watcher.watching(Scripted(), config, what) as watcher:
            watcher.follow(handle)
            watcher.cancelled = True
            await restart(EvaluationRun(uuid4(), datetime.now(UTC), (handle,)), watcher, handle, what.steps)
            return watcher.handles(what.jobs[0])

    assert asyncio.run(lose()) == [handle]
