"""How an evaluation ended: its scores, its files, and where the UI shows it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proctor.cli.answer import Answer
from proctor.cli.api import PrefectApi, patiently, ui_url
from proctor.cli.artifacts import results
from proctor.cli.evaluations import FlowRun
from proctor.cli.tables import show
from proctor.cli.words import duration, number
from proctor.configs import records
from proctor.configs.fields import base_folder

if TYPE_CHECKING:
    from proctor.tasks.results import BenchmarkResult, EvaluationResult

HEAD = ("benchmark", "metric", "value", "stderr", "samples", "time")
TABLE = Answer(as_json=False)
SERVER_SAID = "\nserver: "
"""What precedes the words of a model server in the message of a benchmark that failed with it."""
SERVER_LINES = 8
RIGHT = ("value", "stderr", "samples", "time", "change")


def show_end(api: PrefectApi, run: FlowRun, answer: Answer = TABLE) -> int:
    """Print the score table, what has no score and why, and the files; returns the exit code of the outcome."""
    result = patiently(lambda: results(api, run))
    if answer.as_json:
        scored = result.model_dump(mode="json") if result else None
        answer.give({**run.document(), "results": scored, "ui": ui_url(api.address.url, run.flow_run_id)})
        return int(run.type != "COMPLETED")
    if result:
        changed = result.compared_with is not None
        show((*HEAD, "change") if changed else HEAD, score_cells(result, changed=changed), right=RIGHT)
        for each in result.failed:
            click.echo(
                f"{each.benchmark}: {each.state}: {first_line(each.message) or 'no scores'}{why(run, each)}", err=True
            )
        for line in server_words(result.failed):
            click.echo(line, err=True)
        for each in result.benchmarks:
            if each.scores and each.message:
                click.echo(f"{each.benchmark}: {first_line(each.message)}", err=True)
    for line in where(api, run):
        click.echo(line)
    if run.type == "COMPLETED":
        if records.NOT_EXPORTED in run.message:
            click.echo(f"proctor: {run.message}; again: proctor export {run.id} --dest ...", err=True)
        return 0
    click.echo(f"proctor: evaluation {run.id}: {run.state}: {run.message}", err=True)
    return 1


def why(run: FlowRun, failed: "BenchmarkResult") -> str:
    """Where there is more about a benchmark without scores: its log, or that of the server that it needed."""
    if failed.state == "CANCELLED":
        return ""
    told = first_line(failed.message).startswith(("server died", "server did not answer"))
    return f" (why: proctor logs {run.id}{' --server' if told else f'.{failed.step}'})"


def server_words(failed: "Sequence[BenchmarkResult]") -> list[str]:
    """The last lines of a model server that benchmarks failed with; nothing where none did."""
    said = next((each.message for each in failed if SERVER_SAID in each.message), "")
    lines = said.partition(SERVER_SAID)[2].splitlines()[1:]
    return ["the model server's last words:", *(f"  {line}" for line in lines[-SERVER_LINES:])] if lines else []


def score_cells(result: "EvaluationResult", *, changed: bool) -> list[tuple[str, ...]]:
    """One row a score; a benchmark without scores has one, too."""
    cells: list[tuple[str, ...]] = []
    for each in result.benchmarks:
        time = duration(each.seconds)
        for score in each.scores:
            samples = "–" if score.samples is None else str(score.samples)
            change = ("–" if score.change is None else f"{score.change:+.4g}",) if changed else ()
            numbers = (number(score.value), number(score.stderr), samples, time)
            cells.append((each.benchmark, score.name, *numbers, *change))
        if not each.scores:
            cells.append((each.benchmark, "–", each.state, "–", "–", time, *(("–",) if changed else ())))
    return cells


def where(api: PrefectApi, run: FlowRun) -> list[str]:
    """Files that are really there, and the page of the UI."""
    found = [path for name in ("results.json", "report.html") if (path := export_folder(run) / name).is_file()]
    labels = {"results.json": "results", "report.html": "report "}
    files = [f"{labels[path.name]}  {path}" for path in found]
    return [*files, f"ui       {ui_url(api.address.url, run.flow_run_id)}"]


def export_folder(run: FlowRun) -> Path:
    """Where the local export of an evaluation lies."""
    config = run.parameters.get("config") or {}
    named = ((config.get("export") or {}).get("local") or {}).get("output_dir")
    return base_folder(config.get("base_dir")) / Path(named).expanduser() if named else Path(run.folder or ".")


def first_line(text: str) -> str:
    """The first line of a message."""
    return text.strip().split("\n", 1)[0]
