"""Deleting the variables that `proctor run` handed to evaluations which need them no more."""

from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun

from proctor.configs import records
from proctor.configs.host_env import forget, handed
from proctor.tasks.orphans import known
from proctor.tasks.reaping import Ended, settled
from proctor.tasks.records import handles_in

STRANGE = timedelta(days=7)
"""After that, values for an evaluation that this server does not know are deleted too."""


async def forget_settled(client: PrefectClient) -> list[str]:
    """Delete the values of evaluations that are over on this machine; the answer names them."""
    lying, now = handed(), datetime.now(UTC)
    runs = {records.evaluation_id(run.id): run for run in await known(client, lying)} if lying else {}
    done = [name for name, since in lying.items() if useless(runs.get(name), since, now)]
    for name in done:
        forget(name)
    return done


def useless(run: FlowRun | None, since: datetime, now: datetime) -> bool:
    """Whether nobody will read values any more that were handed over at that time."""
    if run is None or run.state is None:
        return now - since > STRANGE
    ended = Ended(run.state.type.value, run.state.name or "", run.state.timestamp)
    left = bool(handles_in(run.labels)) and not run.labels.get(records.RELEASED_LABEL)
    return settled(ended, now, jobs=left)
