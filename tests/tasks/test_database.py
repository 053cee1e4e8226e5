"""Two writers of one SQLite database take turns, where Prefect's own server refuses the second one at once."""

import asyncio
from pathlib import Path

import pytest
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from proctor.tasks.database import OrderlySqlite, turn


async def add_one(database: AioSqliteConfiguration, both_read: asyncio.Barrier | None) -> None:
    session = await database.session(await database.engine())
    async with session, database.begin_transaction(session):
        found = (await session.execute(text("select value from counter"))).scalar_one()
        if both_read:
            await both_read.wait()
        await session.execute(text("update counter set value = :more"), {"more": found + 1})


async def count_to_two(database: AioSqliteConfiguration, both_read: asyncio.Barrier | None) -> int:
    """What the counter says after two that each add one."""
    engine = await database.engine()
    async with engine.connect() as connection:
        await connection.execute(text("create table counter as select 0 as value"))
        await connection.commit()
    await asyncio.gather(*(add_one(database, both_read) for _ in range(2)))
    async with engine.connect() as connection:
        return int((await connection.execute(text("select value from counter"))).scalar_one())


def test_writers_take_turns(tmp_path: Path) -> None:
    database = OrderlySqlite(f"sqlite+aiosqlite:///{tmp_path}/orderly.db", timeout=1)
    assert asyncio.run(count_to_two(database, None)) == 2


def test_prefects_own_refuses_the_second(tmp_path: Path) -> None:
    database = AioSqliteConfiguration(f"sqlite+aiosqlite:///{tmp_path}/own.db", timeout=1)
    with pytest.raises(OperationalError, match="database is locked"):
        asyncio.run(count_to_two(database, asyncio.Barrier(2)))


def test_those_in_line_come_in_order_and_a_turn_inside_a_turn_is_ones_own() -> None:
    entered: list[str] = []

    async def write(name: str) -> None:
        async with turn():
            entered.append(name)
            await asyncio.sleep(0.01)
            async with turn():
                entered.append(f"{name} again")
                await asyncio.sleep(0.01)

    async def all_at_once() -> None:
        await asyncio.gather(*(write(name) for name in "abc"))

    asyncio.run(all_at_once())
    assert entered == ["a", "a again", "b", "b again", "c", "c again"]


def test_a_task_begun_inside_a_turn_waits_once_that_is_over() -> None:
    entered: list[str] = []

    async def late(go: asyncio.Event) -> None:
        await go.wait()
        async with turn():
            entered.append("late")

    async def both() -> None:
        go = asyncio.Event()
        async with turn():
            task = asyncio.create_task(late(go))
            await asyncio.sleep(0)
        async with turn():
            go.set()
            await asyncio.sleep(0.05)
            entered.append("second")
        await task

    asyncio.run(both())
    assert entered == ["second", "late"]


def test_a_service_may_wait_for_a_transaction_inside_its_own(tmp_path: Path) -> None:
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
