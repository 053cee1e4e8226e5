"""The model servers behind endpoints of ours, from creation to the first answer."""

import json
import secrets
import time
from dataclasses import dataclass

from proctor.blocks.errors import RejectedError, TransientError
from proctor.blocks.job import Server
from proctor.blocks.lepton.connection import RefusalError
from proctor.blocks.lepton.ledger import Ledger, keep
from proctor.blocks.lepton.render import endpoint, endpoint_name
from proctor.blocks.lepton.states import FATAL_EVENTS, Phase, endpoint_meaning
from proctor.blocks.lepton.workspace import EARLIER, SeenEndpoint, Workspace
from proctor.configs.execution_schema import LeptonExecution

ASK_SECONDS = 15.0
"""How long an endpoint may take to say which models it has."""
EVENTS = 6
"""How many of its events are told about an endpoint that never answered."""
TAIL = 30
"""Lines of a dead server's log that are kept."""
REMOVAL = 60.0
"""Seconds that Lepton may take to free the name of an endpoint that is being removed."""
REMOVAL_PAUSE = 1.0
"""Seconds between two tries to take that name."""
MODELS = "/v1/models"


def new_token() -> str:
    """A token for a job's own endpoint: it lives as long as that does, whatever becomes of the workspace's."""
    return f"prc-{secrets.token_hex(32)}"


def ensure(workspace: Workspace, page: Ledger, server: Server) -> None:
    """Ask for the job's endpoint unless it is there; one of another owner under its name is refused."""
    name = endpoint_name(page.job)
    if page.endpoint.id:
        return
    page.endpoint.at = page.endpoint.at or time.time()
    keep(page)
    found = workspace.endpoint(name)
    if found is None or (found.ours == page.job.name and found.state == "Deleting"):
        created(workspace, page, server)
    elif found.ours != page.job.name:
        raise RejectedError(f"endpoint {name}: there is one of that name in the workspace that is not ours")
    page.endpoint.id = name
    keep(page)


def created(workspace: Workspace, page: Ledger, server: Server) -> None:
    """A new endpoint; one that is still being removed is waited for."""
    document = endpoint(page.job, server, with_groups(workspace, page))
    deadline = time.monotonic() + REMOVAL
    while True:
        try:
            workspace.create_endpoint(document)
        except RefusalError as error:
            there = workspace.endpoint(endpoint_name(page.job)) if error.status == 409 else None
            if error.status != 409 or time.monotonic() > deadline:
                raise
            if there and there.ours == page.job.name and endpoint_meaning(there.state).phase is not Phase.STOPPED:
                return
            time.sleep(REMOVAL_PAUSE)
        else:
            return


def with_groups(workspace: Workspace, page: Ledger) -> LeptonExecution:
    """The section with ids in place of the names of node groups, and the shape that was chosen for the server."""
    execution = workspace.execution
    ids = {
        key: page.groups.get(value, value)
        for key in ("node_group", "endpoint_node_group")
        if (value := getattr(execution, key))
    }
    return execution.model_copy(update={**ids, **({"endpoint_resource_shape": page.shape} if page.shape else {})})


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint said about its models."""

    status: int
    """HTTP status, 0 for no answer at all."""
    text: str = ""
    why: str = ""

    def lists(self, model: str) -> bool:
        """Whether this model is among them."""
        return model in self.names()

    def names(self) -> list[str]:
        """The models."""
        try:
            return [str(each["id"]) for each in json.loads(self.text)["data"]]
        except (ValueError, KeyError, TypeError):
            return []


def asked(url: str, token: str) -> Answer:
    """One request to an endpoint, with its token."""
    import httpx  # noqa: PLC0415 (comes with prefect)

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    local = url.startswith(("http://127.0.0.1", "http://localhost"))
    try:
        answer = httpx.get(url, headers=headers, timeout=ASK_SECONDS, follow_redirects=True, trust_env=not local)
    except httpx.HTTPError as error:
        return Answer(0, "", type(error).__name__)
    return Answer(answer.status_code, answer.text, f"HTTP {answer.status_code}")


def attend(workspace: Workspace, page: Ledger, server: Server) -> str:
    """See how the job's endpoint is doing: sets `models` when it first answers and `failure` when it never will.

    The answer is what is to be waited for, in words; empty once it answers.
    """
    found = workspace.endpoint(endpoint_name(page.job))
    if found is None:
        return gone(workspace, page)
    means = endpoint_meaning(found.state)
    if means.phase in {Phase.FAILED, Phase.STOPPED}:
        return failed(workspace, page, f"its endpoint {means.words}{what_happened(workspace, found.name)}")
    if page.models:
        return ""
    why = means.words
    if means.phase is Phase.RUNNING and found.url:
        why = first_answer(workspace, page, server, found)
    if page.models or page.failure:
        return why
    fatal = [reason for reason in workspace.endpoint_reasons(found.name) if reason in FATAL_EVENTS]
    if fatal:
        return failed(workspace, page, f"{FATAL_EVENTS[fatal[0]]} ({fatal[0]})")
    if time.time() > page.endpoint.at + server.ready_timeout:
        late = f"server did not answer within {server.ready_timeout:g} s: {why}"
        return failed(workspace, page, f"{late}{what_happened(workspace, found.name)}")
    return f"server {why}"


def what_happened(workspace: Workspace, name: str) -> str:
    """The latest events of an endpoint and the end of its last container, as the end of a sentence; empty for neither."""
    reasons = list(dict.fromkeys(workspace.endpoint_reasons(name)))[-EVENTS:]
    words = [f"its events: {', '.join(reasons)}"] if reasons else []
    return "".join(f"; {each}" for each in [*words, *workspace.terminations(name)[-1:]])


def gone(workspace: Workspace, page: Ledger) -> str:
    """An endpoint that Lepton does not know (any more)."""
    if page.models or time.time() > page.endpoint.at + REMOVAL:
        return failed(workspace, page, "its endpoint was removed from Lepton")
    return "server is being created"


def first_answer(workspace: Workspace, page: Ledger, server: Server, found: SeenEndpoint) -> str:
    """Whether the endpoint is healthy and has the model. The ingress may lag behind the state; a refused token does not."""
    token = page.token
    health = asked(found.url + server.health_path, token)
    if health.status != 200:
        return refused_token(workspace, page, health) or f"{server.health_path} answers {health.why}"
    models = asked(found.url + server.models_path, token)
    if models.status == 200 and models.lists(server.served_model):
        page.base, page.models = found.url, models.text
        return ""
    listed = ", ".join(models.names()) or models.why
    return refused_token(workspace, page, models) or (
        f"{server.models_path} does not list the model {server.served_model}: {listed}"
    )


def refused_token(workspace: Workspace, page: Ledger, answer: Answer) -> str:
    """The end of the waiting where the endpoint refuses the token that we gave it."""
    if answer.status not in {401, 403}:
        return ""
    return failed(
        workspace, page, f"its endpoint refuses our token ({answer.why}): was the workspace's token changed since?"
    )


def failed(workspace: Workspace, page: Ledger, why: str) -> str:
    """Note that the server will never answer, with its last words."""
    page.failure = why
    lines: list[str] = []
    try:
        since = page.endpoint.at - EARLIER
        lines = [text for _, text in workspace.log("endpoint", endpoint_name(page.job), since)][-TAIL:]
    except (TransientError, RejectedError):
        lines = ["(its log is not to be had)"]
    page.log_tail = "\n".join(lines)
    return why
