"""Many evaluations in the state store of a machine's own server, written into its database in a second."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proctor.configs import records


@dataclass(frozen=True)
class Store:
    """The SQLite database of the machine's server."""

    home: Path

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """One transaction, which waits for the server's."""
        database = sqlite3.connect(self.home / "prefect" / "prefect.db", timeout=60)
        try:
            with database:
                yield database
        finally:
            database.close()

    def copy(self, flow_run_id: str, copies: int, **changes: str) -> None:
        """Copies of a flow run; `changes` are SQL expressions by column, in which `n` counts from 1."""
        with self.open() as database:
            names = [str(row[1]) for row in database.execute("pragma table_info(flow_run)")]
            made = {"state_id": "null", "idempotency_key": "null", **changes}
            values = ", ".join(made.get(name, name) for name in names)
            numbers = f"with recursive c(n) as (select 1 union all select n + 1 from c where n < {copies})"
            database.execute(
                f"insert into flow_run ({', '.join(names)}) {numbers} select {values} from c, flow_run where id = ?",
                (flow_run_id,),
            )

    def delete(self, name: str) -> None:
        """Take out every flow run whose name is like this."""
        with self.open() as database:
            database.execute("delete from flow_run where name like ?", (name,))


def crowd(store: Store, flow_run_id: str, copies: int) -> None:
    """That many evaluations, whose ids are f0000001 and so on; `ed`, a possible id, stands in every name."""
    ident = "n + 4026531840"
    store.copy(
        flow_run_id,
        copies,
        id=f"printf('%08x-0000-4000-8000-%012x', n, {ident})",
        name=f"printf('crowd simulated %08x', {ident})",
        tags=f"json_array('{records.EVALUATION_TAG}', printf('evaluation:%08x', {ident}))",
    )


def one(store: Store, flow_run_id: str, ident: str, **changes: Any) -> None:
    """One more evaluation with this id, copied from another; `changes` are values by column."""
    made = {
        "id": f"{ident}-0000-4000-8000-0000{ident}",
        "name": f"crowd simulated {ident}",
        "tags": json.dumps([records.EVALUATION_TAG, records.evaluation_tag(ident)]),
        **changes,
    }
    store.copy(flow_run_id, 1, **{name: "null" if value is None else f"'{value}'" for name, value in made.items()})
