"""Prefect's REST API for commands that must not pay a second for importing Prefect."""

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click
import httpx

from proctor.cli.address import Address, here
from proctor.cli.errors import CommandError, MistakeError
from proctor.cli.home import read_record

Answer = TypeVar("Answer")

BUSY = 503
BUSY_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 0.0)
"""Seconds between two tries: a server on SQLite answers 503, having done nothing, when two transactions collide."""

AWAY_PAUSE = 1.0
"""Seconds between two looks whether a server is back."""

PAGE = 200
"""Rows in one answer; the server refuses to give more."""


class ServerAwayError(CommandError):
    """The server gave no answer; asking later may help."""


class AnswerLostError(ServerAwayError):
    """It was asked, and its answer did not arrive; it may have done what it was asked."""


class PrefectApi:
    """One server. Every call raises ServerAwayError when it does not answer, CommandError when it refuses."""

    def __init__(self, address: Address) -> None:
        self.address = address

    @cached_property
    def client(self) -> httpx.Client:
        """The connections to it."""
        return httpx.Client(
            base_url=self.address.url + "/",
            headers=dict(self.address.headers),
            timeout=30,
            trust_env=not self.address.on_this_machine,
        )

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        """One answer, whatever its status code below 500; a server that is busy for a moment is asked again.

        So is one whose answer was lost, for instance because it ends connections that were idle, where asking twice is the
        same as asking once.
        """
        for pause in BUSY_PAUSES:
            try:
                answer = self._once(method, path, body)
                if answer.status_code != BUSY:
                    break
            except AnswerLostError:
                if not pause or not repeatable(method, path, body or {}):
                    raise
            time.sleep(pause)
        if answer.status_code >= 500:
            raise ServerAwayError(f"the Prefect server at {self.address.url} answers {answer.status_code}")
        return answer

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx.Response:
        try:
            return self.client.request(method, path.lstrip("/"), json=body)
        except httpx.TransportError as error:
            lost = isinstance(error, httpx.ReadError | httpx.RemoteProtocolError)
            raise (AnswerLostError if lost else ServerAwayError)(
                f"no Prefect server answers at {self.address.url} (from {self.address.source}): {error}"
            ) from error
        except httpx.InvalidURL as error:
            raise MistakeError(f"{self.address.source} is no URL: {self.address.url}") from error

    def require(self) -> None:
        """Return where the server is healthy and lets us in."""
        if self.get("/health") is not True:
            raise CommandError(f"the Prefect server at {self.address.url} is not healthy")
        self.get("/admin/version")  # everybody may ask for its health

    def get(self, path: str) -> Any:
        """A JSON answer; None for what is not there."""
        return self._json(self.request("GET", path))

    def post(self, path: str, **body: Any) -> Any:
        """A JSON answer; None for what is not there."""
        return self._json(self.request("POST", path, body))

    def patch(self, path: str, **body: Any) -> None:
        """Change a record."""
        self._json(self.request("PATCH", path, body))

    def _json(self, answer: httpx.Response) -> Any:
        if answer.status_code == 404:
            return None
        if answer.status_code in {401, 403}:
            raise CommandError(
                f"the Prefect server at {self.address.url} wants credentials: set PREFECT_API_KEY or PREFECT_API_AUTH_STRING"
            )
        if answer.is_error:
            raise CommandError(f"the Prefect server refuses: {refusal(answer)}")
        return answer.json() if answer.content else None


def repeatable(method: str, path: str, body: Mapping[str, Any]) -> bool:
    """Whether a request does no more when it is sent twice."""
    return method in {"GET", "PATCH"} or path.endswith(("/filter", "/count")) or "idempotency_key" in body


def patiently(ask: Callable[[], Answer]) -> Answer:
    """The answer of a server that was there a moment ago: where it is away for a while it is waited for, which is said once."""
    said = False
    while True:
        try:
            return ask()
        except ServerAwayError as error:
            if not said:
                click.echo(f"proctor: {error.message}; waiting for it", err=True)
            said = True
            time.sleep(AWAY_PAUSE)


def refusal(answer: httpx.Response) -> str:
    """The server's own words."""
    try:
        detail = answer.json().get("detail") or answer.json().get("exception_detail") or answer.text
    except ValueError:
        detail = answer.text
    return str(detail)[:500]


def known_address() -> Address:
    """The server to ask: the one this shell names, else that of this machine's stack. Raises CommandError."""
    address = here()
    if address:
        return address
    record = read_record("server")
    if record is None:
        raise CommandError(
            "there is no Prefect server to ask: set PREFECT_API_URL, or start this machine's: proctor up"
        )
    from proctor.cli.services import alive  # noqa: PLC0415 (psutil, 10 ms)

    if not alive(record):  # its port may be somebody else's by now
        raise ServerAwayError("the Prefect server of this machine does not run; `proctor up` starts it")
    return Address(record.url, "this machine's stack")


def connect() -> PrefectApi:
    """The API that read-only commands ask. Raises CommandError when there is none."""
    return PrefectApi(known_address())


def ui_url(api_url: str, flow_run_id: str) -> str:
    """Where the UI shows a flow run."""
    return f"{ui_root(api_url)}/runs/flow-run/{flow_run_id}"


def artifact_url(api_url: str, key: str) -> str:
    """Where the UI shows an artifact."""
    return f"{ui_root(api_url)}/artifacts/key/{key}"


def ui_root(api_url: str) -> str:
    """Where the UI of a server begins."""
    parts = urlsplit(api_url)
    if parts.hostname == "api.prefect.cloud":
        path = parts.path.removeprefix("/api").replace("/accounts/", "/account/").replace("/workspaces/", "/workspace/")
        return f"https://app.prefect.cloud{path}"
    return api_url.removesuffix("/api")
