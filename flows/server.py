"""`python -m proctor.flows.server PORT`: `prefect server start` on loopback, which says when to ask again while it is busy.

Prefect's server answers 503 at once when SQLite refuses a second writer (`prefect.server.api.server`), without a
`Retry-After`; its clients, the worker among them, then wait 2, 4, 8... and once 150 s for what takes 20 ms.
"""

import sys

import uvicorn
from fastapi import FastAPI
from prefect.server.api.server import create_app
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proctor.tasks.database import database

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
    return app


if __name__ == "__main__":
    with database():
        uvicorn.run(application(), host="127.0.0.1", port=int(sys.argv[1]), timeout_keep_alive=5, log_level="warning")
