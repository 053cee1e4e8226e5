"""Tables for people: aligned lines in a pipe, colours in a terminal."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

Row = Sequence[str]

COLOURS = {
    "COMPLETED": "green",
    "RUNNING": "cyan",
    "FAILED": "red",
    "CRASHED": "red",
    "CANCELLED": "yellow",
    "CANCELLING": "yellow",
    "UNKNOWN": "magenta",
}


def show(head: Row, rows: Sequence[Row], *, right: Sequence[str] = ()) -> None:
    """Print a table on stdout; the columns named in `right` are numbers."""
    if not sys.stdout.isatty():
        click.echo(lines(head, rows, right), nl=False)
        return
    from rich.console import Console  # noqa: PLC0415 (50 ms that pipes do not pay)

    Console().print(grid(head, rows, right))


def lines(head: Row, rows: Sequence[Row], right: Sequence[str] = ()) -> str:
    """One row a line, in aligned columns."""
    everything = [head, *rows]
    widths = [max(len(row[column]) for row in everything) for column in range(len(head))]
    return "".join(
        "  ".join(
            text.rjust(width) if name in right else text.ljust(width)
            for name, text, width in zip(head, row, widths, strict=True)
        ).rstrip()
        + "\n"
        for row in everything
    )


def grid(head: Row, rows: Sequence[Row], right: Sequence[str] = ()) -> "Table":
    """The table for a terminal, states in their colours."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in head:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(text, style=COLOURS.get(text.split(" ")[0], "")) for text in row))
    return table
