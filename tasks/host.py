"""Keeping an evaluation whose jobs live on one machine with the workers of that machine."""

from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.schemas.objects import State
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import Abort
from prefect.states import Scheduled

from proctor.configs import records
from proctor.configs.execution_schema import BaseExecution
from proctor.tasks.api import api
from proctor.tasks.engine_lock import on_this_machine
from proctor.tasks.mending import AWAITING_HOST, pause_after
from proctor.tasks.records import EvaluationRun


async def stay_with_its_machine(started: EvaluationRun, execution: BaseExecution) -> None:
    """Return where this process may drive the evaluation. Raises Abort once the run waits for its own machine again.

    An engine elsewhere can neither find the jobs nor see that another engine lives: it would run every benchmark twice.
    """
    if not execution.tied_to_its_machine or not started.engine or on_this_machine(started.engine):
        return
    host = started.engine.partition(" ")[0]
    await api().update_flow_run_labels(started.flow_run_id, {records.HANDED_BACK_LABEL: started.handed_back + 1})
    later = datetime.now(UTC) + timedelta(seconds=pause_after(started.handed_back))
    words = (
        f"its jobs are on {host}, so it waits for a worker there; if that machine is gone: proctor resume --elsewhere"
    )
    waiting: State[Any] = Scheduled(name=AWAITING_HOST, message=words, scheduled_time=later)
    answer = await api().set_flow_run_state(started.flow_run_id, waiting)
    taken = "" if answer.status is SetStateStatus.ACCEPT else ", and somebody has ended it meanwhile"
    raise Abort(f"this evaluation belongs to {host}{taken}")
