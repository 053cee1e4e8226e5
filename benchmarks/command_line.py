"""CPU seconds of the light commands, which people type all day."""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.table import Row

REPEATS = 5
PROCTOR = str(Path(sys.executable).parent / "proctor")
CONFIG = """
execution: {output_dir: /tmp/out}
target: {api_endpoint: {url: "http://localhost:8080/v1/chat/completions", model_id: m}}
evaluation:
  tasks:
"""


def cpu_seconds(*arguments: str) -> float:
    """The least CPU time (user and system) of several runs of a command; it must succeed."""
    times = []
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(arguments, check=True, capture_output=True, env={**os.environ, "COLUMNS": "200"})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def dry_run_seconds(folder: Path, count: int) -> float:
    """CPU time of `run --dry-run` with so many benchmarks."""
    listed = subprocess.run([PROCTOR, "ls", "tasks", "--json"], check=True, capture_output=True, text=True).stdout
    names = sorted(set(pick_names(listed)))[:count]
    config = folder / f"with_{count}.yaml"
    config.write_text(CONFIG + "".join(f"    - name: {name}\n" for name in names))
    return cpu_seconds(PROCTOR, "run", "--config-dir", str(folder), "--config-name", config.stem, "--dry-run")


def pick_names(listing: str) -> list[str]:
    """Full names of the benchmarks with an image, from `ls tasks --json`."""
    return [row["name"] for row in json.loads(listing) if row["container"]]


def measure() -> list[Row]:
    """The rows of this table."""
    with tempfile.TemporaryDirectory() as folder:
        one, fifty = dry_run_seconds(Path(folder), 1), dry_run_seconds(Path(folder), 50)
    return [
        Row("python -c pass", cpu_seconds(sys.executable, "-c", "pass"), None, "CPU s"),
        Row("proctor --help", cpu_seconds(PROCTOR, "--help"), 0.15, "CPU s"),
        Row("proctor ls tasks", cpu_seconds(PROCTOR, "ls", "tasks"), 0.25, "CPU s"),
        Row("proctor run --dry-run, 1 benchmark", one, 0.6, "CPU s"),
        Row("proctor run --dry-run, 50 benchmarks", fifty, 0.6, "CPU s"),
        Row("each further benchmark", (fifty - one) / 49 * 1000, 5.0, "CPU ms"),
    ]
