"""What dies comes back: one engine, no benchmark twice, none lost, no score computed again."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from proctor.blocks.process import processes
from proctor.blocks.stages import step_marker
from tests.flows.stack import Run, Stack, wait_for

pytestmark = pytest.mark.live

HARNESS = Path(__file__).parent.parent / "fake_harness"
STEPS = {"alpha": "alpha.0", "beta": "beta.1"}


def config(folder: Path, endpoint: str, cache: str, seconds: float = 3.0, **execution: Any) -> dict[str, Any]:
    """Two benchmarks, one after the other, on the process backend."""
    return {
        "execution": {"type": "process", "output_dir": str(folder), "cache_dir": cache, **execution},
        "target": {"api_endpoint": {"url": endpoint, "model_id": "fake-model"}},
        "evaluation": {
            "trust_unlisted": True,
            "env_vars": {"FAKE_SCRIPT": f"lit:time.sleep({seconds})"},
            "tasks": [{"name": f"fake.{name}", "packages": [str(HARNESS)]} for name in STEPS],
        },
    }


def starts(folder: Path) -> dict[str, int]:
    """How often the harness of each benchmark was started."""
    files = {name: folder / step / "ran" for name, step in STEPS.items()}
    return {name: path.read_text().count("start") if path.exists() else 0 for name, path in files.items()}


def leftovers(run: Run) -> list[str]:
    """Processes of the evaluation that still live."""
    jobs = [key.removeprefix("proctor.job.") for key in run.labels if key.startswith("proctor.job.")]
    markers = [step_marker(job, step) for job in jobs for step in STEPS.values()]
    return [str(process) for found in processes.marked(markers).values() for process in found]


def folder_of(run: Run, output: Path) -> Path | None:
    return next(output.glob(f"*-{run.id}"), None)


def file(name: str) -> Callable[[Run, Path], bool]:
    return lambda run, output: (folder := folder_of(run, output)) is not None and (folder / name).exists()


BOUNDARIES: dict[str, Callable[[Run, Path], bool]] = {
    "recorded": lambda run, _: "proctor.engine" in run.labels,
    "intent": lambda run, _: any(key.startswith("proctor.job.") for key in run.labels),
    "claimed": file("alpha.0/stage.pre-start"),
    "running": file("alpha.0/stage.running"),
    "ended": file("alpha.0/stage.exit"),
    "scored": file("alpha.0/benchmark.json"),
    "child completed": lambda run, _: run.states().get("alpha") == "Completed",
    "all ended": file("beta.1/stage.exit"),
    "all scored": file("beta.1/benchmark.json"),
    "exported": file("results.json"),
}


def kill_at(name: str, stack: Stack, output: Path, settings: dict[str, Any]) -> str:
    """Kill the engine at a boundary; the answer is what is wrong afterwards."""
    run = stack.start("process", settings)
    wait_for(lambda: BOUNDARIES[name](run, output), 90, pause=0.02)
    engine = run.engine
    assert engine
    scored = {path: path.stat().st_mtime_ns for path in output.glob(f"*-{run.id}/*/benchmark.json")}
    os.kill(engine, signal.SIGKILL)
    state = run.until(seconds=150)
    wrong = [f"{state}: {run.message}"] if state != "Completed" else []
    if starts(run.folder) != {"alpha": 1, "beta": 1}:
        wrong.append(f"started {starts(run.folder)}")
    if run.engine == engine:
        wrong.append("no second engine was needed")
    wrong += [f"{path} was computed again" for path, time_ns in scored.items() if path.stat().st_mtime_ns != time_ns]
    if len(run.states()) != 2 or set(run.states().values()) != {"Completed"}:
        wrong.append(str(run.states()))
    wrong += leftovers(run)
    return ", ".join(wrong)


def test_kill_the_engine_at_every_boundary(stack: Stack, tmp_path: Path, endpoint: str, cache: str) -> None:
    settings = config(tmp_path, endpoint, cache)
    with ThreadPoolExecutor(4) as pool:
        found = dict(
            zip(BOUNDARIES, pool.map(lambda name: kill_at(name, stack, tmp_path, settings), BOUNDARIES), strict=True)
        )
    assert not {name: wrong for name, wrong in found.items() if wrong}


def test_a_killed_worker_ends_nothing(stack: Stack, tmp_path: Path, endpoint: str, cache: str) -> None:
    run = stack.start("process", config(tmp_path, endpoint, cache))
    wait_for(lambda: file("alpha.0/stage.running")(run, tmp_path), 60)
    engine = run.engine
    stack.kill_worker()
    try:
        assert run.until() == "Completed"
    finally:
        stack.start_worker()
    assert run.engine == engine
    assert starts(run.folder) == {"alpha": 1, "beta": 1}


def test_a_killed_server_ends_nothing(stack: Stack, tmp_path: Path, endpoint: str, cache: str) -> None:
    run = stack.start("process", config(tmp_path, endpoint, cache))
    wait_for(lambda: file("alpha.0/stage.running")(run, tmp_path), 60)
    stack.kill_server()
    time.sleep(8)
    stack.start_server()
    assert run.until(seconds=120) == "Completed", run.message
    assert starts(run.folder) == {"alpha": 1, "beta": 1}
    assert run.states() == {"alpha": "Completed", "beta": "Completed"}


def test_a_second_engine_waits_and_changes_nothing(stack: Stack, tmp_path: Path, endpoint: str, cache: str) -> None:
    run = stack.start("process", config(tmp_path, endpoint, cache, seconds=8))
    wait_for(lambda: file("alpha.0/stage.running")(run, tmp_path), 60)
    engine = run.engine
    body = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True}
    stack.post(f"/flow_runs/{run.flow_run_id}/set_state", body).raise_for_status()
    wait_for(lambda: run.state == "Running" and run.record["run_count"] > 1, 60)
    assert run.until() == "Completed"
    time.sleep(3)
    assert (run.state, run.engine) == ("Completed", engine)
    assert starts(run.folder) == {"alpha": 1, "beta": 1}
    assert len(run.benchmarks()) == 2


def test_a_lost_benchmark_is_started_again(stack: Stack, tmp_path: Path, endpoint: str, cache: str) -> None:
    run = stack.start("process", config(tmp_path, endpoint, cache, seconds=4))
    wait_for(lambda: file("alpha.0/stage.running")(run, tmp_path), 60)
    (job,) = [key.removeprefix("proctor.job.") for key in run.labels if key.startswith("proctor.job.")]
    marker = step_marker(job, "alpha.0")
    processes.signal_all(processes.marked([marker])[marker], kill=True)
    assert run.until() == "Completed", run.message
    assert starts(run.folder) == {"alpha": 2, "beta": 1}


def test_cancelling_leaves_no_process(stack: Stack, tmp_path: Path, endpoint: str, cache: str) -> None:
    run = stack.start("process", config(tmp_path, endpoint, cache, seconds=300))
    wait_for(lambda: file("alpha.0/stage.running")(run, tmp_path), 60)
    assert leftovers(run)
    run.cancel()
    wait_for(lambda: not leftovers(run), 30)
    assert run.until() == "Cancelled"
