"""Whether an engine that this machine cannot see still says that it lives."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.events.filters import EventFilter

from proctor.tasks.mending import SILENCE

HEARTBEAT = "prefect.flow-run.heartbeat"


async def silent(client: PrefectClient, flow_run_id: UUID) -> bool:
    """Whether the server has heard no heartbeat of this run for `SILENCE` seconds."""
    wanted = {
        "occurred": {"since": datetime.now(UTC) - timedelta(seconds=SILENCE)},
        "event": {"name": [HEARTBEAT]},
        "resource": {"id": [f"prefect.flow-run.{flow_run_id}"]},
    }
    page = await client.read_events(EventFilter.model_validate(wanted), limit=1)
    return not page.events
