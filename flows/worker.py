"""`python -m proctor.flows.worker`: `prefect worker start` for this machine's own server, which also looks after evaluations.

The automations that bring crashed evaluations back work on events, and a server on SQLite loses some of them when its
database is busy: after four tries within half a second it drops the message (`prefect.server.utilities.messaging.memory`).
What the store says is not lost, so the worker compares it with what is there, as `proctor reconcile` does.
"""

import asyncio
import runpy
import sys
import threading

from prefect.client.orchestration import get_client
from prefect.logging import get_logger

from proctor.flows.reconcile import reconcile_all

EVERY = 20.0
"""Seconds between two looks; without anything amiss a look is two requests."""


async def look_after() -> None:
    """Mend what is amiss with evaluations for as long as the process lives."""
    log = get_logger("proctor")
    while True:
        await asyncio.sleep(EVERY)
        try:
            async with get_client() as client:
                for sentence in await reconcile_all(client):
                    log.info(sentence)
        except Exception as error:  # noqa: BLE001 the server may be away for a while
            log.warning("evaluations are not looked after now: %s", error)


if __name__ == "__main__":
    threading.Thread(target=lambda: asyncio.run(look_after()), daemon=True).start()
    sys.argv = ["prefect", "worker", "start", *sys.argv[1:]]
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
