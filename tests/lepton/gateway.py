"""The data plane of one endpoint: its URL, its tokens, and what answers behind them."""

import http.client
import json
import time
from typing import Any

from tests.lepton.containers import ContainerDriver
from tests.lepton.faults import answered
from tests.lepton.wire import Listener, Reply, Request
from tests.lepton.workload import Workload
from tests.lepton.world import World

HOP = frozenset(
    ["connection", "keep-alive", "transfer-encoding", "te", "upgrade", "host", "content-length", "date", "server"]
)
TIMEOUT = 600.0
"""Seconds that a server may take for one answer."""


class Gateway:
    """A listener that lets in who has a token, when the endpoint is ready."""

    def __init__(self, world: World, endpoint: Workload) -> None:
        self.world = world
        self.endpoint = endpoint
        self.listener = Listener(self.answer)
        self.url = self.listener.url

    def stop(self) -> None:
        """Close it."""
        self.listener.stop()

    def answer(self, request: Request) -> Reply | None:
        """The reply to a request, or what a fault makes of it."""
        self.world.data_requests.append((self.endpoint.name, request))
        if self.endpoint.state() != "Stopped":
            self.endpoint.asked = time.time()
        return answered(self.world.data_faults.take(request), request, self.served, self.world.stopping)

    def served(self, request: Request) -> Reply:
        """The reply of whatever runs behind."""
        tokens = self.tokens()
        if tokens and request.bearer not in tokens:
            return Reply(401, {"error": "unauthorized"})
        if self.endpoint.state() != "Ready":
            return Reply(503, "no healthy upstream", {"Content-Type": "text/plain"})
        if isinstance(self.endpoint.driver, ContainerDriver):
            return forwarded(request, self.endpoint.blueprint.port)
        return self.echoed(request)

    def tokens(self) -> set[str]:
        """The tokens that open it; everybody may enter where there is none."""
        found = {self.endpoint.generated_token}
        for token in self.endpoint.blueprint.tokens:
            reference = (token.get("value_from") or {}).get("token_name_ref")
            found.add(self.world.secrets.get(reference, "") if reference else token.get("value") or "")
        return found - {""}

    def echoed(self, request: Request) -> Reply:
        """A model that says what it is told."""
        if request.path in {"/health", "/v1/health/ready"}:
            return Reply(200, {"status": "ok"})
        if request.path == "/v1/models":
            return Reply(200, {"object": "list", "data": [{"id": self.world.served_model, "object": "model"}]})
        if request.method == "POST" and request.path in {"/v1/chat/completions", "/v1/completions"}:
            return Reply(200, completion(self.world.served_model, request))
        return Reply(404, {"error": f"no {request.path} here"})


def completion(model: str, request: Request) -> dict[str, Any]:
    """The answer to a chat or a completion: the last thing that was said."""
    body = request.body if isinstance(request.body, dict) else {}
    messages = body.get("messages") or [{"content": body.get("prompt", "")}]
    text = messages[-1].get("content", "")
    chat = request.path == "/v1/chat/completions"
    choice = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    usage = {"prompt_tokens": len(json.dumps(messages)), "completion_tokens": len(str(text)), "total_tokens": 0}
    kind = "chat.completion" if chat else "text_completion"
    choices = [{"index": 0, "finish_reason": "stop", **choice}]
    return {
        "id": "echo",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "choices": choices,
        "usage": usage,
    }


def forwarded(request: Request, port: int) -> Reply:
    """The reply of the server at a port of this machine; 502 when it gives none."""
    headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request(request.method, request.target, request.raw or None, headers)
        response = connection.getresponse()
        kept = {name: value for name, value in response.getheaders() if name.lower() not in HOP}
        return Reply(response.status, response.read(), kept)
    except (OSError, http.client.HTTPException):
        return Reply(502, "bad gateway", {"Content-Type": "text/plain"})
    finally:
        connection.close()
