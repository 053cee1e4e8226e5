"""Watching an evaluation: live rows in a terminal, a line for each change elsewhere. Stopping to watch ends nothing."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import click

from proctor.cli.api import PrefectApi, ServerAwayError, artifact_url, ui_url
from proctor.cli.artifacts import Progress, table
from proctor.cli.evaluations import FlowRun, read
from proctor.cli.tables import grid
from proctor.cli.words import duration
from proctor.configs import records
from proctor.tasks.names import counted

if TYPE_CHECKING:
    from rich.console import Group

Mode = Literal["live", "lines", "quiet"]

LOOK_SECONDS = 1.0
CRASH_PATIENCE = timedelta(seconds=120)
"""How long a crashed evaluation may take to come back by itself before it counts as ended."""

HEAD = ("benchmark", "state", "time", "requests", "rate", "")
RIGHT = ("time", "requests", "rate")
COUNT_SECONDS = 60.0
"""Between two lines that tell nothing but how many requests a benchmark has had answered."""


@dataclass(frozen=True, slots=True)
class Sight:
    """An evaluation as last seen."""

    run: FlowRun
    rows: tuple[Progress, ...]
    trouble: str = ""


Show = Callable[[Sight], None]


def look(api: PrefectApi, flow_run_id: str) -> Sight:
    """The evaluation now: two requests."""
    run = read(api, flow_run_id)
    return Sight(run, table(api, run))


def over(run: FlowRun, now: datetime) -> bool:
    """Whether nothing more will happen: it ended, or crashed so long ago that nothing brings it back."""
    gone = run.type == "CRASHED" and run.since is not None and now - run.since > CRASH_PATIENCE
    return run.final or gone


def watch(api: PrefectApi, run: FlowRun, show: Show) -> FlowRun:
    """Show an evaluation until it is over; a server that is away for a while is waited for."""
    sight = Sight(run, ())
    while True:
        try:
            sight = look(api, run.flow_run_id)
        except ServerAwayError as error:
            sight = Sight(sight.run, sight.rows, f"{error.message}; waiting for it")
        show(sight)
        if over(sight.run, datetime.now(UTC)):
            return sight.run
        time.sleep(LOOK_SECONDS)


@contextmanager
def display(api: PrefectApi, mode: Mode) -> Iterator[Show]:
    """What shows each sight: a table that changes in place, a line for each change, or nothing."""
    if mode != "live":
        yield Lines() if mode == "lines" else lambda sight: None
        return
    from rich.live import Live  # noqa: PLC0415 (50 ms that pipes do not pay)

    with Live(refresh_per_second=4, transient=True) as screen:

        def show(sight: Sight) -> None:
            screen.update(picture(sight, links(api, sight.run)))

        yield show


class Lines:
    """Prints a line for whatever changed since the last sight."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}
        self.counted: dict[str, tuple[int, float]] = {}
        """The last number of requests of each benchmark that was told, and when."""

    def __call__(self, sight: Sight) -> None:
        """Print what is new."""
        run, now = sight.run, datetime.now(UTC)
        self.say(run.id, f"{run.state}{f': {run.message}' if run.type == 'CRASHED' else ''}")
        for row in sight.rows:
            words = f"{row.words(now).split(' (')[0]}{f' ({row.message})' if row.message else ''}"
            self.say(row.key, words, row.benchmark)
            self.count(row)
        self.say("", sight.trouble, "Prefect")

    def count(self, row: Progress) -> None:
        """A line about the requests of a running benchmark, where there are more than at the last one a while ago."""
        before, when = self.counted.get(row.key, (0, float("-inf")))
        if row.state != "RUNNING" or not row.requests or row.requests == before:
            return
        if time.monotonic() - when >= COUNT_SECONDS:
            self.counted[row.key] = row.requests, time.monotonic()
            rate = f", {pace(row)}" if pace(row) else ""
            answered = f"{counted(row.requests, 'request')} answered{rate}"
            click.echo(f"{datetime.now():%H:%M:%S} {row.benchmark} {answered}", err=True)

    def say(self, who: str, words: str, name: str = "") -> None:
        """One line, unless it was said before."""
        if words and self.said.get(who) != words:
            click.echo(f"{datetime.now():%H:%M:%S} {name or who} {words}", err=True)
        self.said[who] = words


def picture(sight: Sight, places: Sequence[tuple[str, str]]) -> "Group":
    """The live table, and below it where there is more to see."""
    from rich.console import Group  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    run, now = sight.run, datetime.now(UTC)
    head = Text(f"{run.name}  ·  {run.state}  ·  {duration(run.seconds)}", style="bold")
    rows = grid(HEAD, [cells(row, now) for row in sight.rows], RIGHT)
    below = [Text(f"{name.ljust(7)} {where}", style="dim", overflow="fold") for name, where in places]
    return Group(head, rows, *([Text(sight.trouble, style="red")] if sight.trouble else below))


def cells(row: Progress, now: datetime) -> tuple[str, ...]:
    """One benchmark."""
    seconds = row.seconds(now)
    spent = "" if seconds is None else duration(seconds)
    requests = "" if row.requests is None else str(row.requests)
    return row.benchmark, row.words(now), spent, requests, pace(row), row.message.split("\n", 1)[0]


def pace(row: Progress) -> str:
    """How fast a benchmark gets on."""
    return "" if row.per_minute is None else f"{row.per_minute:g}/min"


def links(api: PrefectApi, run: FlowRun) -> list[tuple[str, str]]:
    """Where there is more about an evaluation: its folder, and its pages in the UI."""
    url = api.address.url
    plan = [("plan", artifact_url(url, records.plan_key(run.id)))] if run.folder else []
    logs = [("logs", f"proctor logs {run.id}"), ("output", run.folder)] if run.folder else []
    return [*logs, *plan, ("ui", ui_url(url, run.flow_run_id))]


def follow(api: PrefectApi, run: FlowRun, mode: Mode) -> FlowRun:
    """Watch until the end. Ctrl-C stops the watching only: exit code 130, and how to look again or end it."""
    try:
        with display(api, mode) as show:
            return watch(api, run, show)
    except KeyboardInterrupt:
        click.echo(
            f"\nstopped watching; evaluation {run.id} goes on. "
            f"Watch again: proctor status {run.id} --watch. End it: proctor kill {run.id}",
            err=True,
        )
        raise SystemExit(130) from None
