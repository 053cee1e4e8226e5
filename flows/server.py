"""`python -m proctor.flows.server PORT`: `prefect server start` on loopback, which says when to ask again while it is busy.

Prefect's server answers 503 at once when SQLite refuses a second writer (`prefect.server.api.server`), without a
`Retry-After`; its clients, the worker among them, then wait 2, 4, 8... and once 150 s for what takes 20 ms.
"""

import sys
from contextlib import closing

import uvicorn
from fastapi import FastAPI
from prefect.server.api.server import create_app
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import Pool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SOON = "0.2"
"""Seconds; the client adds jitter of up to a fifth."""


LOCK_SECONDS = 10
"""How long a writer waits for another one. Prefect says 60; two of its services that wait for each other stop all for so long."""


def wait_less(connection: DBAPIConnection, *_: object) -> None:
    """Let a connection that is about to be used wait `LOCK_SECONDS` for the database, where that is SQLite."""
    if "sqlite" in type(connection).__module__:
        with closing(connection.cursor()) as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {LOCK_SECONDS * 1000}")


def retry_soon(app: ASGIApp) -> ASGIApp:
    """The same application with a `Retry-After` on every answer that says the server is busy."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        async def with_header(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 503:
                MutableHeaders(scope=message).setdefault("Retry-After", SOON)
            await send(message)

        await app(scope, receive, with_header)

    return serve


def application() -> FastAPI:
    """Prefect's server with its UI and services."""
    event.listen(Pool, "checkout", wait_less)
    app = create_app(final=True)
    app.add_middleware(retry_soon)
    return app


if __name__ == "__main__":
    uvicorn.run(application(), host="127.0.0.1", port=int(sys.argv[1]), timeout_keep_alive=5, log_level="warning")
