"""`python -m proctor.flows.worker`: `prefect worker start`, which also looks after the evaluations of its machine.

The automations that bring crashed evaluations back work on events, and a server on SQLite loses some of them when its
database is busy: after four tries within half a second it drops the message (`prefect.server.utilities.messaging.memory`).
What the store says is not lost, so the worker compares it with what is there, as `proctor reconcile` does. Containers and
processes that nobody waits for can only be seen from their own machine, so every worker reaps its own. It also bears more
than Prefect's own one (`tasks/steady_worker.py`, `tasks/backoff.py`).
"""

import asyncio
import itertools
import os
import runpy
import signal
import sys
import threading
from pathlib import Path

from prefect.client.orchestration import PrefectClient, get_client
from prefect.logging import get_logger

from proctor.flows.reap import reap_all
from proctor.flows.reconcile import reconcile_all
from proctor.tasks import steady_worker
from proctor.tasks.backoff import bound_pauses
from proctor.tasks.handed import forget_settled

EVERY = 20.0
"""Seconds between two looks; without anything amiss a look is one request."""
SELDOM = 30
"""Every so many looks, ten minutes, those at all benchmark runs that seem to be going on."""
REAPING = 180
"""Every so many looks, an hour, those for what evaluations have left behind."""


async def look_after() -> None:
    """Mend what is amiss with evaluations for as long as the process lives."""
    log = get_logger("proctor")
    for count in itertools.count(1):
        await asyncio.sleep(EVERY)
        try:
            async with get_client() as client:
                for sentence in await look(client, count):
                    log.info(sentence)
        except Exception as error:  # noqa: BLE001 the server may be away for a while
            log.warning("evaluations are not looked after now: %s", error)


async def look(client: PrefectClient, count: int) -> list[str]:
    """Look number `count`; the answer says in one sentence each what was mended or ended."""
    done = [] if count % REAPING == 0 else await reconcile_all(client, orphans=count % SELDOM == 0)
    if count % REAPING == 0:
        done = await reap_all(client)
    forgotten = await forget_settled(client)
    return [*done, *(f"{each}: the variables that were handed to it are deleted" for each in forgotten)]


if __name__ == "__main__":
    # Prefect's worker turns TERM into INT, which processes ignore that a script starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # prefect.yaml starts engines by the name `python`, which must be ours also where nobody activated our environment
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    bound_pauses(steady_worker.PAUSE)
    steady_worker.register()
    threading.Thread(target=lambda: asyncio.run(look_after()), daemon=True).start()
    sys.argv = ["prefect", "worker", "start", *sys.argv[1:]]
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
