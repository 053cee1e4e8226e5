"""Two writers of one SQLite database take turns, where Prefect's own server refuses the second one at once."""

import asyncio
from pathlib import Path

import pytest
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from proctor.tasks.database import OrderlySqlite


async def add_one(database: AioSqliteConfiguration, both_read: asyncio.Barrier | None) -> None:
    session = await database.session(await database.engine())
    async with session, database.begin_transaction(session):
        found = (await session.execute(text("select value from counter"))).scalar_one()
        if both_read:
            await both_read.wait()
        await session.execute(text("update counter set value = :more"), {"more": found + 1})


async def count_to_two(database: AioSqliteConfiguration, at_once: bool) -> int:
    engine = await database.engine()
    async with engine.connect() as connection:
        await connection.execute(text("create table counter as select 0 as value"))
        await connection.commit()
    both_read = asyncio.Barrier(2) if at_once else None
    await asyncio.gather(*(add_one(database, both_read) for _ in range(2)))
    async with engine.connect() as connection:
        return int((await connection.execute(text("select value from counter"))).scalar_one())


def test_writers_take_turns(tmp_path: Path) -> None:
    database = OrderlySqlite(f"sqlite+aiosqlite:///{tmp_path}/orderly.db", timeout=30)
    assert asyncio.run(count_to_two(database, at_once=False)) == 2


def test_prefects_own_refuses_the_second(tmp_path: Path) -> None:
    database = AioSqliteConfiguration(f"sqlite+aiosqlite:///{tmp_path}/own.db", timeout=1)
    with pytest.raises(OperationalError, match="database is locked"):
        asyncio.run(count_to_two(database, at_once=True))
