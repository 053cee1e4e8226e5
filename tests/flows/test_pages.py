"""More flow runs than one answer of the server holds, while they change: none is missing."""

import json
import sqlite3

import pytest

from tests.flows.stack import Stack
from tests.flows.test_hosts import record

pytestmark = pytest.mark.live

COUNT, FEWER = 450, 30

READ = """
import asyncio, json, sqlite3, sys
from prefect.client.orchestration import get_client
from proctor.tasks.pages import every_run

file, tag, fewer = sys.argv[1], sys.argv[2], int(sys.argv[3])
pages = []

async def some_leave(response):
    if response.request.url.path.endswith("/flow_runs/filter"):
        await response.aread()
        pages.append([each["id"] for each in response.json()])
        if len(pages) == 1:
            with sqlite3.connect(file, timeout=60) as database:
                database.executemany("update flow_run set tags = '[]' where id = ?", [[each] for each in pages[0][:fewer]])

async def main():
    async with get_client(httpx_settings={"event_hooks": {"response": [some_leave]}}) as client:
        return await every_run(client, {"tags": {"all_": [tag]}})

print(json.dumps({"found": [str(run.id) for run in asyncio.run(main())], "pages": len(pages)}))
"""
"""Reads every run of a tag; behind the first page some of those that stand on it leave the filter."""


@pytest.mark.parametrize("minutes", [0, 1], ids=["all at one moment", "one after the other"])
def test_every_run_is_found_while_others_end(stack: Stack, minutes: int) -> None:
    tag = f"pages-{minutes}"
    first = record(stack, "RUNNING", [tag])
    with sqlite3.connect(stack.home / "prefect.db", timeout=60) as database:
        names = [str(row[1]) for row in database.execute("pragma table_info(flow_run)")]
        made = {
            "id": "printf('%08x-0000-4000-8000-%012x', 7919 * n % 4096, n)",
            "state_id": "null",
            "idempotency_key": "null",
            "expected_start_time": f"datetime(expected_start_time, '-' || {minutes} * n || ' minutes')",
        }
        values = ", ".join(made.get(name, name) for name in names)
        numbers = f"with recursive c(n) as (select 1 union all select n + 1 from c where n < {COUNT})"
        database.execute(
            f"insert into flow_run ({', '.join(names)}) {numbers} select {values} from c, flow_run where id = ?",
            (first["id"],),
        )
        expected = {str(row[0]) for row in database.execute("select id from flow_run where tags like ?", (f"%{tag}%",))}
    said = json.loads(stack.python(READ, str(stack.home / "prefect.db"), tag, str(FEWER)))
    with sqlite3.connect(stack.home / "prefect.db", timeout=60) as database:
        database.execute(f"delete from flow_run where id in ({','.join('?' * len(expected))})", tuple(expected))
    assert len(said["found"]) == len(set(said["found"])) == COUNT + 1
    assert set(said["found"]) == expected
    assert said["pages"] == 3
