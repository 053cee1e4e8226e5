"""Where there is more about an evaluation than Prefect's pages show: its folder, logs, reports, and where its scores went. Pure."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from proctor.tasks.outgoing import Receipt
from proctor.tasks.plan import Plan


def links_page(plan: Plan, host: str, receipts: Sequence[Receipt] = ()) -> str:
    """A page of links as markdown; files are those of the machine that drives the evaluation."""
    lines = [f"# Evaluation {plan.evaluation}", "", f"Files are on {host}, in {file(plan.folder)}.", ""]
    for each in receipts:
        lines += [f"- {each.destination}: {place(where)}" for where in each.where.split(", ")]
    lines += ["", "| benchmark | output | log | log, also while it runs |", "|---|---|---|---|"]
    for step, benchmark in zip(plan.steps, plan.benchmarks, strict=True):
        folder = f"{plan.folder}/{step}"
        log = file(f"{folder}/harness.log", "harness.log")
        lines.append(f"| {benchmark.name} | {file(folder, step)} | {log} | `proctor logs {plan.evaluation}.{step}` |")
    return "\n".join(lines) + "\n"


def place(where: str) -> str:
    """An address or a path as a link; anything else as it is."""
    if where.startswith(("http://", "https://")):
        return f"[{where}]({where})"
    return file(where) if where.startswith("/") else where


def file(path: str, name: str = "") -> str:
    """A link to a file of a machine."""
    return f"[{name or path}]({PurePosixPath(path).as_uri()})"
