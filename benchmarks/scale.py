"""What waiting costs: many benchmarks of one evaluation that nobody needs to do anything about."""

import json
import subprocess
import sys
import tempfile
import time

import httpx
import psutil

from benchmarks.overhead import DRIVER
from benchmarks.table import Row

WAITING = 1000
LOOK_SECONDS = 20.0
"""How long the CPU time is measured once all wait."""
START_SECONDS = 900.0
"""After that, those that wait are measured, and the table says how many they are."""


def config(folder: str, count: int) -> dict[str, object]:
    """An evaluation of simulated benchmarks that run for hours."""
    execution = {"type": "simulated", "output_dir": folder, "step_seconds": 36000, "max_parallel": count}
    software: dict[str, object] = {"container": "none"}
    tasks = [{"name": f"fake.wait_{index}", **software} for index in range(count)]
    endpoint = {"url": "http://127.0.0.1:9/v1/chat/completions", "model_id": "none"}
    return {
        "execution": execution,
        "target": {"api_endpoint": endpoint},
        "evaluation": {"trust_unlisted": True, "tasks": tasks},
    }


def running(api_url: str) -> int:
    """How many of the benchmarks the server calls running; 0 while it has no time to say."""
    wanted = {"flow_runs": {"name": {"like_": "fake.wait_"}, "state": {"type": {"any_": ["RUNNING"]}}}}
    try:
        return int(httpx.post(f"{api_url}/flow_runs/count", json=wanted, timeout=60).raise_for_status().json())
    except httpx.HTTPError:
        return 0


def measure(api_url: str, database: str, count: int = WAITING) -> list[Row]:
    """The rows of this table; the evaluation is killed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        process = subprocess.Popen([sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdin
        process.stdin.write(json.dumps(config(folder, count)).encode())
        process.stdin.close()
        try:
            while (waiting := running(api_url)) < count and time.monotonic() - begun < START_SECONDS:
                assert process.poll() is None, "the evaluation ended before all benchmarks waited"
                time.sleep(3)
            seconds = time.monotonic() - begun
            time.sleep(5)
            engine = psutil.Process(process.pid)
            before = engine.cpu_times()
            time.sleep(LOOK_SECONDS)
            after = engine.cpu_times()
            used = (after.user + after.system - before.user - before.system) / LOOK_SECONDS
            memory = engine.memory_info().rss / 2**20
        finally:
            process.kill()
            process.wait()
    label = f"{waiting} of {count} benchmarks waiting in one process, {database}"
    return [
        Row(f"{label}: until they wait", seconds, None, "s"),
        Row(f"{label}: memory", memory, 400, "MB"),
        Row(f"{label}: CPU", used * 100, 5, "% of a core"),
    ]
