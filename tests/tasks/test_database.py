"""Two writers of one SQLite database take turns, where Prefect's own server refuses the second one at once."""

import asyncio
from collections.abc import MutableMapping
from pathlib import Path

import pytest
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from starlette.types import Receive, Scope, Send

from proctor.tasks.database import OrderlySqlite, take_turns


async def add_one(database: AioSqliteConfiguration, both_read: asyncio.Barrier | None) -> None:
    session = await database.session(await database.engine())
    async with session, database.begin_transaction(session):
        found = (await session.execute(text("select value from counter"))).scalar_one()
        if both_read:
            await both_read.wait()
        await session.execute(text("update counter set value = :more"), {"more": found + 1})


async def count_to_two(database: AioSqliteConfiguration, both_read: asyncio.Barrier | None) -> int:
    """What the counter says after two requests that each add one."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await add_one(database, both_read)

    async def receive() -> dict[str, object]:
        return {}

    async def send(message: MutableMapping[str, object]) -> None:
        return None

    engine = await database.engine()
    async with engine.connect() as connection:
        await connection.execute(text("create table counter as select 0 as value"))
        await connection.commit()
    app = take_turns(answer)
    await asyncio.gather(*(app({"type": "http"}, receive, send) for _ in range(2)))
    async with engine.connect() as connection:
        return int((await connection.execute(text("select value from counter"))).scalar_one())


def test_answers_take_turns(tmp_path: Path) -> None:
    database = OrderlySqlite(f"sqlite+aiosqlite:///{tmp_path}/orderly.db", timeout=30)
    assert asyncio.run(count_to_two(database, None)) == 2


def test_prefects_own_refuses_the_second(tmp_path: Path) -> None:
    database = AioSqliteConfiguration(f"sqlite+aiosqlite:///{tmp_path}/own.db", timeout=1)
    with pytest.raises(OperationalError, match="database is locked"):
        asyncio.run(count_to_two(database, asyncio.Barrier(2)))


def test_a_service_may_wait_for_another_transaction_inside_its_own(tmp_path: Path) -> None:
    database = OrderlySqlite(f"sqlite+aiosqlite:///{tmp_path}/services.db", timeout=1)

    async def nested() -> int:
        async with (await database.engine()).connect() as connection:
            await connection.execute(text("create table counter as select 0 as value"))
            await connection.commit()
        session = await database.session(await database.engine())
        async with session, database.begin_transaction(session):
            await session.execute(text("select value from counter"))
            await add_one(database, None)
            return int((await session.execute(text("select value from counter"))).scalar_one())

    assert asyncio.run(nested()) == 0, "its own snapshot"
