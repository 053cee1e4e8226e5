"""`proctor ls tasks`: the benchmarks of the catalog."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from proctor.configs.catalog import Entry, load_catalog


@click.command()
@click.argument("filter_text", metavar="[FILTER]", default="")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of a table.")
@click.option("--mapping", type=click.Path(path_type=Path), help="A mapping.toml of your own, before ours.")
def tasks(filter_text: str, *, as_json: bool, mapping: Path | None) -> None:
    """The benchmarks that configs may name, those whose full name, endpoint type or capability holds FILTER."""
    entries = [entry for entry in load_catalog(mapping).entries.values() if matches(entry, filter_text.lower())]
    if as_json:
        click.echo(json.dumps([document(entry) for entry in entries], indent=1))
    elif sys.stdout.isatty():
        table(entries)
    else:
        click.echo(lines(entries), nl=False)
    if not entries and not as_json:
        near = load_catalog(mapping).nearest(filter_text)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        click.echo(f"proctor: no benchmark matches {filter_text!r}{hint}", err=True)


def matches(entry: Entry, text: str) -> bool:
    """Whether an entry is asked for."""
    return any(text in field.lower() for field in (entry.name, entry.endpoint_type, *entry.required_capabilities))


def document(entry: Entry) -> dict[str, object]:
    """An entry for programs: also its full name and the image that runs."""
    return {"name": entry.name, **asdict(entry), "image": entry.image}


def cells(entry: Entry) -> tuple[str, ...]:
    """An entry for people."""
    needs = ", ".join(entry.required_capabilities)
    return entry.harness, entry.benchmark, entry.endpoint_type, needs, entry.container or " ".join(entry.packages)


def lines(entries: Sequence[Entry]) -> str:
    """One entry a line, aligned, for pipes."""
    rows = [HEAD, *(cells(entry) for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return "".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows
    )


HEAD = ("harness", "benchmark", "endpoint", "needs", "container")


def table(entries: Sequence[Entry]) -> None:
    """A table for the terminal."""
    from rich.console import Console  # noqa: PLC0415 (60 ms that pipes do not pay)
    from rich.table import Table  # noqa: PLC0415

    grid = Table(box=None, header_style="bold", pad_edge=False)
    for name in HEAD:
        grid.add_column(name, overflow="fold")
    for entry in entries:
        grid.add_row(*cells(entry))
    console = Console()
    console.print(grid)
    console.print(f"[dim]{len(entries)} benchmarks of {len({entry.harness for entry in entries})} harnesses[/dim]")
