"""How long a request waits that SQLite had no time for."""

import asyncio
from itertools import accumulate

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proctor.flows.server import SOON, retry_soon
from proctor.tasks.api import pause_after, say_when


@pytest.mark.parametrize("allowed", [1, 5, 10, 100])
def test_the_first_pauses_are_short_and_the_last_ones_long(allowed: int) -> None:
    pauses = [pause_after(tries, allowed) for tries in range(allowed)]
    assert pauses == sorted(pauses)
    assert list(accumulate(pauses))[-1] >= 10
    assert allowed < 5 or pauses[0] < 0.1


async def answer(request: Request) -> Response:
    return Response(status_code=int(request.path_params["status"]), headers=dict(request.query_params))


@pytest.mark.parametrize(("path", "said"), [("/503", SOON), ("/200", None), ("/503?retry-after=7", "7")])
def test_a_busy_server_says_when_to_ask_again(path: str, said: str | None) -> None:
    async def ask() -> str | None:
        app = retry_soon(Starlette(routes=[Route("/{status}", answer)]))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
            found: str | None = (await client.get(path)).headers.get("retry-after")
            return found

    assert asyncio.run(ask()) == said


def test_a_server_that_stays_busy_is_asked_less_and_less_often() -> None:
    async def pauses() -> list[float]:
        request = httpx.Request("POST", "http://server/")
        found = []
        for _ in range(10):
            response = httpx.Response(503, headers={"Retry-After": SOON}, request=request)
            await say_when(response)
            found.append(float(response.headers["Retry-After"]))
        return found

    found = asyncio.run(pauses())
    assert found[0] == float(SOON)
    assert sum(found) >= 30, "a database may be locked for half a minute"
