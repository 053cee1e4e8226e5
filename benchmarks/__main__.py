"""`make bench`: every measurement as a table. Exit 1 when one is over its bound."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import command_line, launcher, overhead, scale, slurm, start, store
from benchmarks.command_line import PROCTOR
from benchmarks.table import show


def main() -> int:
    """Measure the command line, then orchestration on a stack of our own."""
    fine = [
        show("Command line", command_line.measure()),
        show("Slurm", slurm.measure()),
        show("Side by side with nemo-evaluator-launcher", launcher.measure()),
    ]
    with tempfile.TemporaryDirectory() as home:
        os.environ["PROCTOR_HOME"] = home
        try:
            subprocess.run([PROCTOR, "up"], check=True)
            api_url = json.loads((Path(home) / "server.json").read_text())["url"]
            fine.append(show("Orchestration", overhead.measure(api_url)))
            fine.append(show("Start", start.measure()))
            fine.append(show("A full state store", store.measure(Path(home), api_url)))
            os.environ["PREFECT_API_URL"] = api_url
            fine.append(show("Scale", scale.measure(api_url, "SQLite")))
        finally:
            subprocess.run([PROCTOR, "down"], check=False)
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
