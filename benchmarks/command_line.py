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


REFUSED = {
    "an unknown key": f"{CONFIG}    - name: mmath_en\nexeuction: {{}}\n",
    "an unknown benchmark": f"{CONFIG}    - name: mmath_em\n",
    "a circle": f"{CONFIG}    - name: mmath_en\nname: ${{target.api_endpoint.model_id}}${{name}}\n",
    "bad YAML": f"{CONFIG}    - name: [\n",
}
"""Mistakes that are found at different depths: by the reader, the schema, the interpolation and the catalog."""


def cpu_seconds(*arguments: str, code: int = 0) -> float:
    """The least CPU time (user and system) of several runs of a command; it must end with this code."""
    times = []
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(arguments, check=False, capture_output=True, env={**os.environ, "COLUMNS": "200"})
        if done.returncode != code:
            raise RuntimeError(f"{arguments} ended with {done.returncode}: {done.stderr.decode()}")
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


def refused_seconds(folder: Path, text: str) -> float:
    """CPU time of `run` with a config that it refuses."""
    (folder / "refused.yaml").write_text(text)
    return cpu_seconds(PROCTOR, "run", "--config", str(folder / "refused.yaml"), code=2)


def pick_names(listing: str) -> list[str]:
    """Full names of the benchmarks with an image, from `ls tasks --json`."""
    return [row["name"] for row in json.loads(listing) if row["container"]]


def measure() -> list[Row]:
    """The rows of this table."""
    with tempfile.TemporaryDirectory() as folder:
        one, fifty = dry_run_seconds(Path(folder), 1), dry_run_seconds(Path(folder), 50)
        refused = {what: refused_seconds(Path(folder), text) for what, text in REFUSED.items()}
    return [
        Row("python -c pass", cpu_seconds(sys.executable, "-c", "pass"), None, "CPU s"),
        Row("proctor --help", cpu_seconds(PROCTOR, "--help"), 0.15, "CPU s"),
        Row("proctor ls tasks", cpu_seconds(PROCTOR, "ls", "tasks"), 0.25, "CPU s"),
        Row("proctor run --dry-run, 1 benchmark", one, 0.6, "CPU s"),
        Row("proctor run --dry-run, 50 benchmarks", fifty, 0.6, "CPU s"),
        Row("each further benchmark", (fifty - one) / 49 * 1000, 5.0, "CPU ms"),
        *(Row(f"proctor run refuses {what}", seconds, 0.6, "CPU s") for what, seconds in refused.items()),
    ]
