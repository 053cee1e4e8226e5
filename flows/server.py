"""`python -m proctor.flows.server PORT [DESCRIPTOR]`: `prefect server start` on loopback, which says when to ask again.

DESCRIPTOR is a socket that the caller has bound to PORT and handed over; without it the server binds one.

Prefect's server answers 503 at once when SQLite refuses a second writer (`prefect.server.api.server`), without a
`Retry-After`; its clients, the worker among them, then wait 2, 4, 8... and once 150 s for what takes 20 ms.
"""

import socket
import sys
from collections.abc import Sequence

import uvicorn
from fastapi import FastAPI
from prefect.server.api.server import create_app
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proctor.tasks.database import asked, database

SOON = "0.2"
"""Seconds; the client adds jitter of up to a fifth."""


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
    app = create_app(final=True)
    app.add_middleware(retry_soon)
    app.add_middleware(asked)
    return app


def listener(port: str, handed: Sequence[str]) -> socket.socket:
    """The socket to serve on: the one whose descriptor was handed over, else a new one."""
    if not handed:
        return socket.create_server(("127.0.0.1", int(port)))
    return socket.socket(fileno=int(handed[0]))


if __name__ == "__main__":
    listening = listener(sys.argv[1], sys.argv[2:])
    with database():
        settings = uvicorn.Config(application(), timeout_keep_alive=5, log_level="warning")
        uvicorn.Server(settings).run(sockets=[listening])
