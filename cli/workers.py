"""Whether anybody is there to run what is put into the work pool."""

from datetime import UTC, datetime
from typing import Any

from proctor.cli.api import PrefectApi
from proctor.cli.stack import POOL
from proctor.cli.words import age, moment

START_A_WORKER = "proctor worker"


def online(api: PrefectApi) -> int:
    """How many workers of our pool the server hears of."""
    return sum(worker.get("status") == "ONLINE" for worker in workers(api))


def workers(api: PrefectApi) -> list[dict[str, Any]]:
    """The workers that the server remembers; none when it does not know our pool."""
    return list(api.post(f"/work_pools/{POOL}/workers/filter") or [])


def nobody(api: PrefectApi) -> str:
    """A sentence when no worker is online, else an empty text."""
    known = workers(api)
    if any(worker.get("status") == "ONLINE" for worker in known):
        return ""
    heard = [time for worker in known if (time := moment(worker.get("last_heartbeat_time")))]
    seen = f" (the last one was seen {age(max(heard), datetime.now(UTC))} ago)" if heard else ""
    return (
        f"no worker is online for the work pool {POOL}{seen}: the evaluation starts when one is; "
        f"start it where the jobs may run, with the same PREFECT_API_URL: {START_A_WORKER}"
    )
