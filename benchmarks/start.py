"""Seconds until an evaluation starts, with the stack up: by `prefect deployment run`, and to the first container of `proctor run`."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

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


@dataclass(frozen=True, slots=True)
class Start:
    """How a run of a deployment started: seconds since the server had the request."""

    taken: float
    """Until a worker had taken it (state Pending)."""
    engine: float
    """Until the process that drives it began."""
    running: float
    """Until its state was Running."""
    cpu: float
    """CPU seconds of that process, when it was seen to run."""


def start_of_deployment(api_url: str, folder: Path) -> Start:
    """The start of an evaluation that `prefect deployment run` asks for."""
    parameters = {
        "config": {
            "execution": {"type": "simulated", "output_dir": str(folder), "step_seconds": 3},
            "target": {"api_endpoint": {"url": "http://127.0.0.1:9/v1/chat/completions", "model_id": "none"}},
            "evaluation": {"tasks": [{"name": "mmath_en"}]},
        }
    }
    prefect = str(Path(sys.executable).parent / "prefect")
    command = [prefect, "deployment", "run", "evaluate/simulated", "--params", json.dumps(parameters)]
    env = {**os.environ, "PREFECT_API_URL": api_url}
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout
    found = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", said)
    assert found, said
    path = f"{api_url}/flow_runs/{found[0]}"
    record = seen(path, "proctor.engine")
    process = psutil.Process(int(str(record["labels"]["proctor.engine"]).split()[1]))
    begun, spent = process.create_time(), process.cpu_times()
    asked = datetime.fromisoformat(record["created"]).timestamp()
    states = httpx.get(f"{api_url}/flow_run_states/", params={"flow_run_id": found[0]}).raise_for_status().json()
    entered = {each["name"]: datetime.fromisoformat(each["timestamp"]).timestamp() for each in states}
    while seen(path)["state_type"] == "RUNNING":
        time.sleep(0.5)
    return Start(entered["Pending"] - asked, begun - asked, entered["Running"] - asked, spent.user + spent.system)


def seen(path: str, label: str = "") -> dict[str, Any]:
    """A flow run's record, once it has this label. Raises RuntimeError when that takes more than a minute."""
    for _ in range(600):
        record: dict[str, Any] = httpx.get(path).raise_for_status().json()
        if not label or label in record["labels"]:
            return record
        time.sleep(0.1)
    raise RuntimeError(f"{path} did not get the label {label} within a minute")


def measure(api_url: str) -> list[Row]:
    """The rows of this table: the best of three containers, because the machine is shared, and the worst of five runs
    for what depends on when the worker looks next."""
    image, endpoint = fake_harness_image(), answering_endpoint()
    with tempfile.TemporaryDirectory() as folder:
        starts = [start_of_deployment(api_url, Path(folder)) for _ in range(5)]
        best = min(seconds_to_first_container(Path(folder), image, endpoint) for _ in range(3))
    return [
        Row(
            "prefect deployment run, from the request until a worker takes it",
            max(each.taken for each in starts),
            None,
            "s",
        ),
        Row("until its process begins", max(each.engine for each in starts), 2.0, "s"),
        Row("until it is Running, best of five", min(each.running for each in starts), None, "s"),
        Row("CPU time of the process until then", min(each.cpu for each in starts), None, "CPU s"),
        Row("proctor run to the first container started", best, 5.0, "s"),
    ]
