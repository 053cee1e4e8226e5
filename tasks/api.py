"""The client of Prefect's API that an evaluation writes with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES

QUICK = (0.03, 0.1, 0.3, 0.6, 1.0, 2.0, 4.0)
SLOW = (10.0, 20.0, 30.0)
"""Seconds until a request is sent again that SQLite had no time for: as many quick ones as the client's tries allow
(`PREFECT_CLIENT_MAX_RETRIES`) before the slow ones."""

PAUSE = 1.0
"""Seconds between two looks whether the server is there at all."""

TRIES = "proctor.tries"
"""Where a request carries how often it has been sent."""
UNANSWERED = "proctor.unanswered"
"""Where it carries that it was sent and that no answer came."""

_client: ContextVar[PrefectClient] = ContextVar("proctor_api_client")


class AnswerLostError(Exception):
    """Nobody knows whether the server has created what it was asked for; asked again it would create a second one."""


def api() -> PrefectClient:
    """The client of the evaluation that is going on, so that everything shares one connection pool."""
    if ours := _client.get(None):
        return ours
    context = FlowRunContext.get()
    client = context.client if context else None
    return client if isinstance(client, PrefectClient) else get_client()


@asynccontextmanager
async def prompt_api() -> AsyncIterator[None]:
    """Inside the block `api` asks a busy server again within milliseconds, where Prefect's client would wait 2 s.

    SQLite refuses a writer whose snapshot is not the newest at once, and the server then answers 503 without a
    `Retry-After` (`prefect.server.api.server.custom_internal_exception_handler`), or, where the server is ours, with one
    that is too short for a database that stays locked; we put in the one that fits.

    Prefect's client sends a request again whose answer was lost. For what would then be there twice it raises
    AnswerLostError instead.
    """
    hooks = {"request": [not_twice], "response": [answered, say_when]}
    async with get_client(httpx_settings={"event_hooks": hooks}) as client:
        await reached(client)
        token = _client.set(client)
        try:
            yield
        finally:
            _client.reset(token)


async def reached(client: PrefectClient) -> None:
    """Return once the server has answered this client, which before gives up at once where the server is away."""
    while True:
        error = await client.api_healthcheck()
        if not isinstance(error, httpx.TransportError):
            return
        await asyncio.sleep(PAUSE)


async def not_twice(request: httpx.Request) -> None:
    """Let only the first try of a request pass that creates an artifact, and those after an answer that it was in vain."""
    if request.method != "POST" or not request.url.path.endswith("/artifacts/"):
        return
    if request.extensions.get(UNANSWERED):
        raise AnswerLostError(f"no answer to {request.method} {request.url.path}")
    request.extensions[UNANSWERED] = True


async def answered(response: httpx.Response) -> None:
    """Note that the server itself has said what became of a request; a gateway's 502 and 504 say nothing about that."""
    if response.status_code < 500 or response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        response.request.extensions[UNANSWERED] = False


async def say_when(response: httpx.Response) -> None:
    """Put into an answer that says the server is busy when the same request is to be sent again."""
    if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
        return
    tries = response.request.extensions.get(TRIES, 0)
    response.request.extensions[TRIES] = tries + 1
    pause = pause_after(tries, PREFECT_CLIENT_MAX_RETRIES.value())
    if asked_for(response) < pause:
        response.headers["Retry-After"] = str(pause)


def asked_for(response: httpx.Response) -> float:
    """Seconds that the server asks to wait; 0 where it does not say."""
    try:
        return float(response.headers.get("Retry-After", 0))
    except ValueError:  # a date
        return 60.0


def pause_after(tries: int, allowed: int) -> float:
    """Seconds to wait after that many tries, of as many as are allowed."""
    pauses = (*QUICK[: max(0, allowed - len(SLOW))], *SLOW)
    return pauses[min(tries, len(pauses) - 1)]
