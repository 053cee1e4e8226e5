"""What looking at evaluations costs when the state store holds ten thousand of them."""

import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.command_line import PROCTOR
from benchmarks.counting_proxy import CountingProxy
from benchmarks.table import Row
from tests.cli.crowd import Store, crowd
from tests.cli.machine import CONFIG

COPIES = 10_000
REPEATS = 5
SECONDS = 1.0
REQUESTS = {"ls runs": 1, "status": 4, "info": 4}
"""The most that each command may ask of the server, whatever the store holds."""


def proctor(*arguments: str, url: str = "") -> str:
    """What a command prints; it must succeed."""
    env = {**os.environ, **({"PREFECT_API_URL": url} if url else {})}
    return subprocess.run([PROCTOR, *arguments], check=True, capture_output=True, text=True, env=env).stdout


def finished(folder: Path) -> str:
    """The flow run of an evaluation that ended well."""
    config = folder / "simulated.yaml"
    config.write_text(CONFIG.format(output=folder / "results"))
    evaluation = proctor("run", "--config", str(config), "-o", "execution.step_seconds=0.2", "--detach").strip()
    proctor("status", evaluation, "--watch")
    return str(json.loads(proctor("info", evaluation, "--json"))["flow_run_id"])


def timed(url: str, *arguments: str) -> tuple[float, int]:
    """The least wall seconds of several runs of a command, and how many requests one of them makes."""
    proxy = CountingProxy(url)
    times = []
    for _ in range(REPEATS):
        begun = time.monotonic()
        proctor(*arguments, url=proxy.url)
        times.append(time.monotonic() - begun)
    return min(times), proxy.requests // REPEATS


def measure(home: Path, api_url: str) -> list[Row]:
    """The rows of this table, for the stack whose PROCTOR_HOME this is."""
    store = Store(home)
    with tempfile.TemporaryDirectory() as folder:
        flow_run = finished(Path(folder))
        evaluation = re.sub("-", "", flow_run)[-8:]
        crowd(store, flow_run, COPIES)
        try:
            commands = {"ls runs": ("ls", "runs"), "status": ("status", evaluation), "info": ("info", evaluation)}
            found = {name: timed(api_url, *arguments) for name, arguments in commands.items()}
        finally:
            store.delete("crowd %")
    rows = []
    for name, (seconds, requests) in found.items():
        rows.append(Row(f"proctor {name} among {COPIES} evaluations", seconds, SECONDS, "s"))
        rows.append(Row(f"proctor {name} among {COPIES} evaluations", requests, REQUESTS[name], "requests"))
    return rows
