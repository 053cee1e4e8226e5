"""Seconds from `proctor run` to the first container, with the stack up."""

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.command_line import PROCTOR
from benchmarks.overhead import answering_endpoint
from benchmarks.table import Row
from tests.engine import engine, fake_harness_image


def seconds_to_first_container(folder: Path, image: str, endpoint: str) -> float:
    """Wall seconds until the engine has started the container of a new evaluation."""
    config = folder / "one.yaml"
    config.write_text(
        f"execution: {{output_dir: {folder}/out, network: host}}\n"
        f'target: {{api_endpoint: {{url: "{endpoint}", model_id: none}}}}\n'
        "evaluation:\n"
        "  trust_unlisted: true\n"
        f"  tasks: [{{name: fake.noop, container: '{image}', "
        "nemo_evaluator_config: {config: {params: {extra: {}}}}}]\n"
    )
    started = time.time()
    command = [PROCTOR, "run", "--config-dir", str(folder), "--config-name", "one", "--detach"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    found = re.search(r"\b[0-9a-f]{8}\b", done.stdout)
    evaluation = found.group(0) if found else ""
    label = {"label": f"proctor.evaluation={evaluation}", "event": "start"}
    for event in engine().events(since=int(started) - 1, until=int(time.time()) + 60, filters=label, decode=True):
        return float(event["timeNano"]) / 1e9 - started
    raise RuntimeError(f"no container of evaluation {evaluation} started within a minute")


def measure() -> list[Row]:
    """The row of this table: the best of three, because the machine is shared."""
    image, endpoint = fake_harness_image(), answering_endpoint()
    with tempfile.TemporaryDirectory() as folder:
        best = min(seconds_to_first_container(Path(folder), image, endpoint) for _ in range(3))
    return [Row("proctor run to the first container started", best, 5.0, "s")]
