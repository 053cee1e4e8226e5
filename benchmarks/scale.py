"""What waiting costs: many benchmarks of one evaluation that nobody needs to do anything about."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from benchmarks.counting_proxy import CountingProxy
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
    tasks = [{"name": f"fake.{Path(folder).name}_{index}", **software} for index in range(count)]
    endpoint = {"url": "http://127.0.0.1:9/v1/chat/completions", "model_id": "none"}
    return {
        "execution": execution,
        "target": {"api_endpoint": endpoint},
        "evaluation": {"trust_unlisted": True, "tasks": tasks},
    }


def running(api_url: str, mark: str) -> int:
    """How many of the benchmarks with this mark the server calls running; 0 while it has no time to say."""
    wanted = {"flow_runs": {"name": {"like_": f"fake.{mark}_"}, "state": {"type": {"any_": ["RUNNING"]}}}}
    try:
        return int(httpx.post(f"{api_url}/flow_runs/count", json=wanted, timeout=60).raise_for_status().json())
    except httpx.HTTPError:
        return 0


def measure(api_url: str, database: str, count: int = WAITING) -> list[Row]:
    """The rows of this table; the evaluation is killed at the end."""
    proxy = CountingProxy(api_url)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        env = {**os.environ, "PREFECT_API_URL": proxy.url}
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
        )
        assert process.stdin
        process.stdin.write(json.dumps(config(folder, count)).encode())
        process.stdin.close()
        try:
            while (waiting := running(api_url, Path(folder).name)) < count and time.monotonic() - begun < START_SECONDS:
                assert process.poll() is None, "the evaluation ended before all benchmarks waited"
                time.sleep(3)
            seconds, failed = time.monotonic() - begun, proxy.failed
            time.sleep(5)
            used, memory = cost_of(psutil.Process(process.pid))
        finally:
            process.kill()
            process.wait()
    label = f"{count} benchmarks waiting in one process, {database}"
    return [
        Row(f"{label}: until they wait", seconds, None, "s"),
        Row(f"{label}: not started by then", count - waiting, 0, ""),
        Row(f"{label}: failed requests until then", failed, 0, f"of {proxy.requests}"),
        Row(f"{label}: memory", memory, 400, "MB"),
        Row(f"{label}: CPU", used * 100, 5, "% of a core"),
    ]


def cost_of(engine: psutil.Process) -> tuple[float, float]:
    """Cores that a process uses while its benchmarks wait, and its memory in MB."""
    before = engine.cpu_times()
    time.sleep(LOOK_SECONDS)
    after = engine.cpu_times()
    used = (after.user + after.system - before.user - before.system) / LOOK_SECONDS
    return used, engine.memory_info().rss / 2**20
