"""The database of the Prefect server of this machine: SQLite bears one writer, and writers take turns.

Prefect's transactions read first and write later; SQLite refuses one that was overtaken meanwhile at once, however long it
may wait (https://www.sqlite.org/isolation.html), and the server answers 503. Only what a client asks for takes turns: some of
the server's own services wait for a second transaction inside a first one.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from contextvars import ContextVar

from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.server.database.dependencies import temporary_database_config
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction
from sqlalchemy.pool import Pool
from starlette.types import ASGIApp, Receive, Scope, Send

LOCK_SECONDS = 10
"""How long a writer waits for another one. Prefect says 60; two of its services that wait for each other stop all for so long."""

_asked: ContextVar[bool] = ContextVar("proctor_asked", default=False)
"""Whether a client's request is being answered."""


def wait_less(connection: DBAPIConnection, *_: object) -> None:
    """Let a connection that is about to be used wait `LOCK_SECONDS` for the database, where that is SQLite."""
    if "sqlite" in type(connection).__module__:
        with closing(connection.cursor()) as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {LOCK_SECONDS * 1000}")


class OrderlySqlite(AioSqliteConfiguration):
    """SQLite where the answer to a request that may write waits for its turn before it reads."""

    @asynccontextmanager
    async def begin_transaction(
        self, session: AsyncSession, with_for_update: bool = False
    ) -> AsyncIterator[AsyncSessionTransaction]:
        """A transaction that, for a client, has the right to write from its first statement on."""
        async with super().begin_transaction(session, with_for_update or _asked.get()) as transaction:
            yield transaction


def take_turns(app: ASGIApp) -> ASGIApp:
    """The same application, whose answers write one after the other."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        token = _asked.set(scope["type"] == "http")
        try:
            await app(scope, receive, send)
        finally:
            _asked.reset(token)

    return serve


@contextmanager
def database() -> Iterator[None]:
    """Inside the block the database of this process's server is an orderly one, where it is SQLite."""
    url = PREFECT_API_DATABASE_CONNECTION_URL.value()
    if not url.startswith("sqlite"):
        yield
        return
    event.listen(Pool, "checkout", wait_less)
    with temporary_database_config(OrderlySqlite(url)):
        yield
