"""The database of the Prefect server of this machine: SQLite bears one writer, and writers take turns.

Prefect's transactions read first and write later; SQLite refuses one that was overtaken meanwhile at once, however long it
may wait (https://www.sqlite.org/isolation.html), and the server answers 503. One that has to wait asks again every 100 ms,
so that it may be overtaken for ever. Here they stand in line in the one process that writes, and what a client asks for has
the right to write before it reads. The server's own services have not: some wait for a second transaction inside a first one.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from weakref import WeakKeyDictionary

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


@dataclass
class Turn:
    """The right to write, of a task and of what it waits for."""

    held: bool = True


_turn: ContextVar[Turn | None] = ContextVar("proctor_turn", default=None)
_asked: ContextVar[bool] = ContextVar("proctor_asked", default=False)
_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


@asynccontextmanager
async def turn() -> AsyncIterator[None]:
    """Waits until nobody else is inside such a block; a block inside one's own is entered at once.

    After `LOCK_SECONDS` it is entered nevertheless: whoever is inside may be waiting for this one.
    """
    mine = _turn.get()
    if mine and mine.held:
        yield
        return
    line = _lines.setdefault(asyncio.get_running_loop(), asyncio.Lock())
    if not await _taken(line):
        yield
        return
    mine = Turn()
    token = _turn.set(mine)
    try:
        yield
    finally:
        mine.held = False
        _turn.reset(token)
        line.release()


async def _taken(line: asyncio.Lock) -> bool:
    try:
        return await asyncio.wait_for(line.acquire(), LOCK_SECONDS)
    except TimeoutError:
        return False


def wait_less(connection: DBAPIConnection, *_: object) -> None:
    """Let a connection that is about to be used wait `LOCK_SECONDS` for the database, where that is SQLite."""
    if "sqlite" in type(connection).__module__:
        with closing(connection.cursor()) as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {LOCK_SECONDS * 1000}")


class OrderlySqlite(AioSqliteConfiguration):
    """SQLite whose transactions are one after the other."""

    @asynccontextmanager
    async def begin_transaction(
        self, session: AsyncSession, with_for_update: bool = False
    ) -> AsyncIterator[AsyncSessionTransaction]:
        """A transaction that nobody overtakes."""
        mode = with_for_update or _asked.get()
        async with turn(), super().begin_transaction(session, with_for_update=mode) as transaction:
            yield transaction


def asked(app: ASGIApp) -> ASGIApp:
    """The same application, whose database knows what a client asked for."""

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
