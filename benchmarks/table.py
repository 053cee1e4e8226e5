"""A measured value beside its bound, and a table of them."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement; `bound` is the most it should be, where one is set."""

    what: str
    value: float
    bound: float | None
    unit: str


def show(title: str, rows: list[Row]) -> bool:
    """Print a table; whether every value is within its bound."""
    table = Table(title=title, title_justify="left")
    for name in ("", "measured", "at most", "unit", ""):
        table.add_column(name, justify="right" if name in {"measured", "at most"} else "left")
    for row in rows:
        within = row.bound is None or row.value <= row.bound
        bound = "" if row.bound is None else f"{row.bound:g}"
        table.add_row(row.what, f"{row.value:.3g}", bound, row.unit, "" if within else "over")
    Console(width=110).print(table)
    return all(row.bound is None or row.value <= row.bound for row in rows)
