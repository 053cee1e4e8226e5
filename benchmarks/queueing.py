"""Many evaluations that wait at a worker with a limit: what becomes of each, and in which order they are taken."""

import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from benchmarks.scale import config
from benchmarks.table import Row
from proctor.cli.stack import POOL

COUNT = 300
SECONDS = 5400.0
"""After that, those that have not ended count as lost."""
FINAL = ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]


def overlap(spans: Sequence[tuple[str, str]]) -> int:
    """The most of these spans (start, end; ISO times of one zone) that were going on at the same moment."""
    steps = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    most = now = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


def out_of_order(starts: Sequence[str], limit: int) -> int:
    """How many started earlier than one that was due `limit` places or more before them.

    Those that are taken in the same moment start together, as their processes happen to come up.
    """
    latest = ""
    wrong = 0
    for index, start in enumerate(starts):
        if index >= limit:
            latest = max(latest, starts[index - limit])
        wrong += start < latest
    return wrong


def put_in_line(api_url: str, folder: str, count: int) -> list[str]:
    """The ids of so many runs of one benchmark each, in the order in which they are due."""
    deployment = httpx.get(f"{api_url}/deployments/name/evaluate/simulated").raise_for_status().json()["id"]
    content = config(folder, 1) | {"execution": {"type": "simulated", "output_dir": folder, "step_seconds": 0.1}}
    body = {"parameters": {"config": content}, "state": {"type": "SCHEDULED"}}
    path = f"{api_url}/deployments/{deployment}/create_flow_run"
    return [str(httpx.post(path, json=body, timeout=60).raise_for_status().json()["id"]) for _ in range(count)]


def pause(api_url: str, *, paused: bool) -> None:
    """Let the work pool hand out no run, or hand them out again."""
    httpx.patch(f"{api_url}/work_pools/{POOL}", json={"is_paused": paused}, timeout=60).raise_for_status()


def count_of(api_url: str, ids: Sequence[str], states: Sequence[str]) -> int:
    """How many of these runs are in one of these states; 0 while the server has no time to say."""
    wanted = {"flow_runs": {"id": {"any_": list(ids)}, "state": {"type": {"any_": list(states)}}}}
    try:
        return int(httpx.post(f"{api_url}/flow_runs/count", json=wanted, timeout=60).raise_for_status().json())
    except httpx.HTTPError:
        return 0


def records(api_url: str, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """These runs as the server knows them."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(ids), 100):
        wanted = {"flow_runs": {"id": {"any_": list(ids[start : start + 100])}}}
        answer = httpx.post(f"{api_url}/flow_runs/filter", json=wanted, timeout=60).raise_for_status()
        found |= {str(each["id"]): each for each in answer.json()}
    return found


def measure(api_url: str, proctor: str, limit: int = 4, count: int = COUNT) -> list[Row]:
    """The rows of this table; the worker of the stack is started again with this limit, and waits until all stand in line."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([proctor, "up", "--limit", str(limit)], check=True, capture_output=True)
        pause(api_url, paused=True)
        ids = put_in_line(api_url, folder, count)
        pause(api_url, paused=False)
        begun = time.monotonic()
        while count_of(api_url, ids, FINAL) < count and time.monotonic() - begun < SECONDS:
            time.sleep(3)
        seconds = time.monotonic() - begun
        ended = records(api_url, ids)
        scored = [path for path in Path(folder).glob("*/results.json") if json.loads(path.read_text())["benchmarks"]]
    lost = count - sum(each["state_type"] == "COMPLETED" for each in ended.values())
    doubled = sum(each["run_count"] > 1 for each in ended.values())
    label = f"{count} evaluations waiting, {limit} at a time"
    return [
        Row(f"{label}: until all have ended", seconds, None, "s"),
        Row(f"{label}: not Completed", lost, 0, ""),
        Row(f"{label}: without results", count - len(scored), 0, ""),
        Row(f"{label}: started more than once", doubled, 0, ""),
        Row(
            f"{label}: taken out of order", out_of_order([str(ended[each]["start_time"]) for each in ids], limit), 0, ""
        ),
    ]
