"""Whether an endpoint that has answered still does: a harness would ask a dead one in vain for hours."""

import time

from proctor.blocks.errors import BackendError
from proctor.blocks.lepton.ledger import Ledger
from proctor.blocks.lepton.servers import MODELS, asked, failed
from proctor.blocks.lepton.states import Phase, endpoint_meaning
from proctor.blocks.lepton.workspace import Workspace
from proctor.configs.lepton_endpoint import SERVER_NAME, endpoint_in

EVERY = 60.0
"""Seconds between two questions."""
SILENCE = 300.0
"""Seconds without an answer after which an endpoint is dead."""
NOBODY = frozenset({0, 502, 503, 504})
"""What is heard when nobody answers; any other status, 401 too, comes from a server."""


def feel(workspace: Workspace, page: Ledger) -> None:
    """Ask the endpoint of a job's benchmarks whether it is still there; sets `failure` when it surely is not."""
    now = time.time()
    if not page.base or now < page.probed + EVERY:
        return
    page.probed = now
    server = page.job.server
    if server is None and stopped(workspace, page):
        return
    path, token = (server.health_path, page.token) if server else (MODELS, "")
    answer = asked(page.base + path, token)
    if answer.status not in NOBODY:
        page.silent = 0.0
        return
    page.silent = page.silent or now
    if now >= page.silent + SILENCE:
        why = f"its endpoint has not answered for {now - page.silent:.0f} s: {path} says {answer.why}"
        if server:
            failed(workspace, page, why)
        else:
            page.failure = why


def stopped(workspace: Workspace, page: Ledger) -> bool:
    """Whether an endpoint that a config names was stopped or removed meanwhile; then `failure` says so."""
    names = {endpoint_in(step.endpoint_url) for step in page.job.steps} - {"", SERVER_NAME}
    try:
        found = {name: workspace.endpoint(name) for name in names}
    except BackendError:
        return False
    for name, endpoint in found.items():
        means = endpoint_meaning(endpoint.state) if endpoint else None
        if means is None or means.phase in {Phase.FAILED, Phase.STOPPED}:
            page.failure = f"the endpoint {name!r} {means.words if means else 'was removed from Lepton'}"
    return bool(page.failure)
