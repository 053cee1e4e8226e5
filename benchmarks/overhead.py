"""What orchestration costs: 20 benchmarks that do nothing, through `evaluate` and through bare `docker run`."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path

from benchmarks.counting_proxy import CountingProxy
from benchmarks.table import Row
from tests.engine import fake_harness_image, require_image
from tests.fake_harness import fake_harness

COUNT = 20
PARALLEL = 4
DRIVER = """
import asyncio, json, sys
from proctor.configs.schema import EvaluationConfig
from proctor.flows.evaluate import evaluate
asyncio.run(evaluate(EvaluationConfig.model_validate(json.load(sys.stdin)), return_state=True))
"""


@dataclass(frozen=True)
class Subject:
    """A benchmark that does nothing: the harness's start and end are all it costs."""

    what: str
    name: str
    type: str
    """What its harness calls it."""
    image: str
    bound: float | None
    """At most this ratio of `evaluate` to a loop of `docker run`."""

    @classmethod
    def all(cls) -> list["Subject"]:
        """The real command line of NeMo Evaluator, and a script in its place that ends at once."""
        return [
            cls("no-op benchmarks", "primer.primer_noop", "primer_noop", require_image("proctor-test/eval:1"), 1.25),
            cls("scripts that end at once", "fake.noop", "fake", fake_harness_image(), None),
        ]


def config(folder: Path, subject: Subject, endpoint: str, count: int, parallel: int) -> dict[str, object]:
    """An evaluation of this benchmark, so many times."""
    tasks = [
        {
            "name": subject.name,
            "container": subject.image,
            "nemo_evaluator_config": {"config": {"params": {"extra": {"index": index}}}},
        }
        for index in range(count)
    ]
    return {
        "execution": {"type": "local", "output_dir": str(folder), "max_parallel": parallel, "network": "host"},
        "target": {"api_endpoint": {"url": endpoint, "model_id": "none"}},
        "evaluation": {"trust_unlisted": True, "tasks": tasks},
    }


def answering_endpoint() -> str:
    """The URL of an endpoint on this machine that answers whatever it is asked."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), fake_harness.Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/v1/chat/completions"


def bare_loop(subject: Subject, endpoint: str, folder: Path, parallel: int) -> float:
    """Wall seconds of `docker run` for each container, `parallel` at a time through xargs."""
    document = {
        "config": {"type": subject.type, "output_dir": "/results", "params": {"extra": {}}},
        "target": {"api_endpoint": {"url": endpoint, "model_id": "none", "type": "chat"}},
    }
    for index in range(COUNT):
        (folder / str(index)).mkdir(parents=True)
        (folder / str(index) / "run.json").write_text(json.dumps(document))
    command = (
        f"seq 0 {COUNT - 1} | xargs -P {parallel} -I@ sh -c 'docker run --rm --network host -e ADAPTER_PORT=$((4000 + @)) "
        f"-v {folder}/@:/results {subject.image} nemo-evaluator run_eval --run_config /results/run.json'"
    )
    started = time.monotonic()
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)
    return time.monotonic() - started


def through_evaluate(api_url: str, content: dict[str, object]) -> tuple[float, float, int]:
    """Wall seconds from the start of the flow run to its end, those of its whole process, and the API requests it made."""
    proxy = CountingProxy(api_url)
    env = {**os.environ, "PREFECT_API_URL": proxy.url, "PREFECT_LOGGING_LEVEL": "ERROR"}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", DRIVER], input=json.dumps(content), env=env, text=True, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    whole = time.monotonic() - started
    return newest_run_seconds(api_url), whole, proxy.requests


def newest_run_seconds(api_url: str) -> float:
    """The run time of the newest evaluation, as Prefect recorded it."""
    import httpx  # noqa: PLC0415

    wanted = {"flows": {"name": {"any_": ["evaluate"]}}, "sort": "START_TIME_DESC", "limit": 1}
    (run,) = httpx.post(f"{api_url}/flow_runs/filter", json=wanted).raise_for_status().json()
    if run["state_type"] != "COMPLETED":
        raise RuntimeError(f"the evaluation ended {run['state_name']}: {run['state'].get('message')}")
    return float(run["total_run_time"])


def measure(api_url: str) -> list[Row]:
    """The rows of this table; the two sides of a ratio are measured one right after the other."""
    endpoint = answering_endpoint()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for subject in Subject.all():
            for label, parallel in (("one at a time", 1), (f"{PARALLEL} at a time", PARALLEL)):
                bare = bare_loop(subject, endpoint, folder / f"bare-{subject.type}-{parallel}", parallel)
                ours, whole, requests = through_evaluate(
                    api_url, config(folder / "ours", subject, endpoint, COUNT, parallel)
                )
                rows.append(Row(f"{COUNT} {subject.what}, {label}: docker run", bare, None, "s"))
                rows.append(Row(f"{COUNT} {subject.what}, {label}: evaluate", ours, None, "s"))
                rows.append(Row("  ratio", ours / bare, subject.bound, ""))
                rows.append(Row("  ratio with the start of the engine's process", whole / bare, None, ""))
        *_, alone = through_evaluate(api_url, config(folder / "ours", Subject.all()[-1], endpoint, 1, 1))
    rows.append(Row("API requests of an evaluation with 1 benchmark", alone, None, ""))
    rows.append(Row("API requests for each further benchmark", (requests - alone) / (COUNT - 1), None, ""))
    return rows
