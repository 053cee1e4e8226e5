"""The files of the local export: results.json, results.csv, results.md and a self-contained HTML report."""

import csv
import io
import os
import re
from collections.abc import Collection, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from proctor.tasks.results import EvaluationResult, score_rows

COLUMNS = ("benchmark", "metric", "value", "stderr", "samples", "change", "seconds", "state", "message")


def write_report(result: EvaluationResult, folder: Path, formats: Collection[str]) -> dict[str, Path]:
    """Write the wanted formats (json, csv, markdown, html) whole into a folder; the answer is format -> file."""
    makers = {"json": as_json, "csv": as_csv, "markdown": as_markdown, "html": as_html}
    names = {"json": "results.json", "csv": "results.csv", "markdown": "results.md", "html": "report.html"}
    folder.mkdir(parents=True, exist_ok=True)
    return {kind: write_whole(folder / names[kind], makers[kind](result)) for kind in makers if kind in formats}


def write_whole(path: Path, text: str) -> Path:
    """Write a file by rename, so that nobody ever reads half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.rename(path)
    return path


def as_json(result: EvaluationResult) -> str:
    """The whole document."""
    return result.model_dump_json(indent=2) + "\n"


def as_csv(result: EvaluationResult) -> str:
    """One line a score."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(score_rows(result))
    return text.getvalue()


def as_markdown(result: EvaluationResult) -> str:
    """A table for issues and chats: one line a score, and why others are missing."""
    when = f", {result.started:%Y-%m-%d %H:%M} UTC" if result.started else ""
    lines = [
        f"# {cell(result.name)}",
        "",
        f"Model {cell(result.model)}, evaluation {result.evaluation} on {result.execution}{when}",
        "",
    ]
    lines += ["| benchmark | metric | value | stderr | samples | time |", "|---|---|---:|---:|---:|---:|"]
    for row in score_rows(result):
        numbers = [number(row["value"]), number(row["stderr"]), row["samples"] or "–", duration(row["seconds"])]  # type: ignore[arg-type]
        lines.append("| " + " | ".join(map(cell, [row["benchmark"], row["metric"] or row["state"], *numbers])) + " |")
    for each in result.failed:
        lines += [
            "",
            f"{cell(each.benchmark)} has no scores ({each.state}): {cell(each.message.splitlines()[0] if each.message else '')}",
        ]
    return "\n".join(lines) + "\n"


def cell(text: object) -> str:
    """A text that stays in its cell, and in which nothing is markup."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(str(text).split()))


def as_html(result: EvaluationResult) -> str:
    """A page without any outside asset: scores, a plot, what failed and why, provenance."""
    from jinja2 import Environment  # noqa: PLC0415 (only where a report is made)

    template = (files("proctor.tasks") / "report.html.jinja").read_text()
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = number
    environment.filters["duration"] = duration
    return environment.from_string(template).render(result=result, rows=score_rows(result), plot=plot(result))


def number(value: float | None) -> str:
    """A score with four digits, as short as it can be."""
    return "–" if value is None else f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """Seconds as a person says them."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"


def plot(result: EvaluationResult) -> list[Mapping[str, Any]]:
    """The bars of the plot: scores that are shares (between 0 and 1, or up to 100), each on a scale of 0 to 100.

    Lower and upper end of the error bar are one standard error away; None where the harness reports none.
    """
    bars: list[Mapping[str, Any]] = []
    for row in score_rows(result):
        value, error = row["value"], row["stderr"]
        if not isinstance(value, int | float) or not 0 <= value <= 100:
            continue
        scale = 100.0 if value <= 1 else 1.0
        spread = error * scale if isinstance(error, int | float) else None
        ends = (max(0.0, value * scale - spread), min(100.0, value * scale + spread)) if spread is not None else None
        bars.append(
            {
                "label": row["metric"],
                "benchmark": row["benchmark"],
                "percent": value * scale,
                "ends": ends,
                "value": value,
            }
        )
    return bars
