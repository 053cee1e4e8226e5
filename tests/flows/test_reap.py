"""`reap` on real containers and processes: ends what is over, and nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from proctor.blocks.stages import step_marker
from tests.engine import engine, fake_harness_image
from tests.flows.stack import Run, Stack
from tests.flows.test_reattach import HARNESS, begin
from tests.waiting import wait_for

pytestmark = pytest.mark.live

REAP = """
import asyncio, json, sys
from prefect.client.orchestration import get_client
from proctor.flows.reap import reap_all
async def main():
    async with get_client() as client:
        print(json.dumps(await reap_all(client, float(sys.argv[1]), dry_run=sys.argv[2] == "dry")))
asyncio.run(main())
"""


def reap(stack: Stack, grace: float, how: str = "really", *runs: Run) -> list[str]:
    """What is said about these evaluations."""
    command = [sys.executable, "-c", REAP, str(grace), how]
    done = subprocess.run(command, env=stack.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [each for each in json.loads(done.stdout.splitlines()[-1]) if any(run.id in each for run in runs)]


def finished(stack: Stack, folder: Path, endpoint: str, place: dict[str, Any]) -> Run:
    run = begin(stack, folder, endpoint, place, "pass")
    assert run.until() == "Completed", run.message
    return run


class Left:
    """Containers and processes that look like ours."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.containers: list[Any] = []

    def process(self, evaluation: str) -> subprocess.Popen[bytes]:
        name = f"proctor-{evaluation}-abcdef-9-1"
        ours = {"PROCTOR_EVALUATION": evaluation, "PROCTOR_STEP": step_marker(name, "x.0")}
        self.processes.append(subprocess.Popen(["sleep", "600"], env={**os.environ, **ours}, start_new_session=True))
        return self.processes[-1]

    def container(self, evaluation: str) -> Any:
        labels = {"proctor.evaluation": evaluation, "proctor.job": f"proctor-{evaluation}-abcdef-9-1"}
        image = fake_harness_image()
        self.containers.append(
            engine().containers.run(image, ["sleep", "600"], entrypoint="", labels=labels, detach=True)
        )
        return self.containers[-1]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        for container in self.containers:
            container.remove(force=True) if container.id in ids() else None


def ids() -> set[str | None]:
    return {each.id for each in engine().containers.list(all=True, ignore_removed=True)}


@pytest.fixture
def left() -> Iterator[Left]:
    left = Left()
    yield left
    left.close()


def test_only_what_is_over_is_ended(stack: Stack, endpoint: str, cache: str, tmp_path: Path, left: Left) -> None:
    place = {"execution": {"type": "process", "cache_dir": cache}, "task": {"packages": [str(HARNESS)]}}
    docker = {"execution": {"type": "local"}, "task": {"container": fake_harness_image()}}
    over, alive = finished(stack, tmp_path / "a", endpoint, place), begin(stack, tmp_path / "b", endpoint, place)
    over_too = finished(stack, tmp_path / "c", endpoint, docker)
    mine, theirs, living = left.process(over.id), left.process("ffffffff"), left.process(alive.id)
    box, box_of_theirs = left.container(over_too.id), left.container("ffffffff")
    runs = (over, alive, over_too)
    assert reap(stack, 600, "really", *runs) == [], "within the grace"
    planned = reap(stack, 0, "dry", *runs)
    assert {each.split(" of ")[0].split(" proctor")[0] for each in planned} == {
        "would end processes",
        "would end container " + box.name,
    }
    assert mine.poll() is None
    assert len(reap(stack, 0, "really", *runs)) == 2
    wait_for(lambda: mine.poll() is not None)
    assert box.id not in ids()
    assert (theirs.poll(), living.poll(), box_of_theirs.id in ids()) == (None, None, True)
    assert alive.state == "Running"
    (alive.folder / "alpha.0" / "go").touch()
    wait_for((alive.folder / "beta.1").is_dir)
    (alive.folder / "beta.1" / "go").touch()
    assert alive.until() == "Completed", alive.message


def test_a_run_without_a_process_is_healed(stack: Stack, endpoint: str, cache: str, tmp_path: Path) -> None:
    place = {"execution": {"type": "process", "cache_dir": cache}, "task": {"packages": [str(HARNESS)]}}
    run = begin(stack, tmp_path, endpoint, place)
    assert run.engine
    engine_process = psutil.Process(run.engine)
    stack.kill_worker()
    engine_process.kill()
    wait_for(lambda: not engine_process.is_running() or engine_process.status() == psutil.STATUS_ZOMBIE)
    assert run.state == "Running"
    wait_for(lambda: reap(stack, 600, "dry", run) == [f"would mend: {run.id}: bring back"], pause=2)
    assert reap(stack, 600, "really", run) == [f"{run.id}: its engine was dead, it comes back"]
    stack.start_worker()
    for step in ("alpha.0", "beta.1"):
        wait_for(lambda step=step: (run.folder / step).is_dir())  # type: ignore[misc]
        (run.folder / step / "go").touch()
    assert run.until() == "Completed", run.message
