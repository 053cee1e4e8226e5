"""What dies comes back: one engine, no benchmark twice, none lost, no score computed again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from docker.models.containers import Container

from proctor.blocks.process import processes
from proctor.blocks.stages import step_marker
from tests.engine import engine, fake_harness_image
from tests.flows.stack import PREFECT, Run, Stack
from tests.waiting import wait_for

pytestmark = pytest.mark.live

HARNESS = Path(__file__).parent.parent / "fake_harness"
PROCTOR = str(Path(sys.executable).parent / "proctor")
STEPS = {"alpha": "alpha.0", "beta": "beta.1"}


@pytest.fixture
def processes_only(cache: str) -> dict[str, Any]:
    """The process backend: its `execution:` section and where its benchmarks come from."""
    return {"execution": {"type": "process", "cache_dir": cache}, "task": {"packages": [str(HARNESS)]}}


@pytest.fixture(params=["process", "local"])
def place(request: pytest.FixtureRequest, processes_only: dict[str, Any]) -> dict[str, Any]:
    """Each backend that runs something here."""
    if request.param == "process":
        return processes_only
    return {"execution": {"type": "local"}, "task": {"container": fake_harness_image()}}


GO = "while not (out / 'go').exists(): time.sleep(0.1)"
"""A harness that ends when its test says so."""


def config(folder: Path, endpoint: str, place: dict[str, Any], script: str = "time.sleep(3)") -> dict[str, Any]:
    """Two benchmarks, one after the other, that do what the script says."""
    return {
        "execution": {**place["execution"], "output_dir": str(folder)},
        "target": {"api_endpoint": {"url": endpoint, "model_id": "fake-model"}},
        "evaluation": {
            "trust_unlisted": True,
            "env_vars": {"FAKE_SCRIPT": f"lit:{script}"},
            "tasks": [{"name": f"fake.{name}", **place["task"]} for name in STEPS],
        },
    }


def begin(stack: Stack, folder: Path, endpoint: str, place: dict[str, Any], script: str = GO) -> Run:
    """An evaluation whose first benchmark runs."""
    run = stack.start(place["execution"]["type"], config(folder, endpoint, place, script))
    wait_for(lambda: Scene(run, folder, folder).has("alpha.0/ran"))
    return run


def go(run: Run) -> None:
    """Let the benchmarks end."""
    for step in STEPS.values():
        (run.folder / step).mkdir(exist_ok=True)
        (run.folder / step / "go").touch()


def starts(folder: Path) -> dict[str, int]:
    """How often the harness of each benchmark was started."""
    files = {name: folder / step / "ran" for name, step in STEPS.items()}
    return {name: path.read_text().count("start") if path.exists() else 0 for name, path in files.items()}


def jobs(run: Run) -> list[str]:
    return [key.removeprefix("proctor.job.") for key in run.labels if key.startswith("proctor.job.")]


def containers(run: Run, step: str = "") -> list[Container]:
    """Containers of the evaluation, or of one of its steps; ended ones too."""
    if "backend:local" not in run.record["tags"]:
        return []
    labels = [f"proctor.evaluation={run.id}", *([f"proctor.step={step}"] if step else [])]
    return list(engine().containers.list(all=True, ignore_removed=True, filters={"label": labels}))


def leftovers(run: Run) -> list[str]:
    """Processes and containers that the evaluation still holds."""
    markers = [step_marker(job, step) for job in jobs(run) for step in STEPS.values()]
    return [
        *(str(each) for found in processes.marked(markers).values() for each in found),
        *(str(each.name) for each in containers(run)),
    ]


def folder_of(run: Run, output: Path) -> Path | None:
    return next(output.glob(f"*-{run.id}"), None)


@dataclass(frozen=True)
class Scene:
    """An evaluation and where it happens."""

    run: Run
    work: Path
    """Where the benchmarks of evaluations work."""
    output: Path
    """Where their results come to."""

    def has(self, name: str) -> bool:
        """Whether a benchmark, or what runs it, has left this file where it works."""
        return (folder := folder_of(self.run, self.work)) is not None and (folder / name).exists()

    def holds(self, name: str) -> bool:
        """Whether the engine has left this file among the results."""
        return (folder := folder_of(self.run, self.output)) is not None and (folder / name).exists()


BOUNDARIES: dict[str, Callable[[Scene], bool]] = {
    "recorded": lambda scene: "proctor.engine" in scene.run.labels,
    "intent": lambda scene: any(key.startswith("proctor.job.") for key in scene.run.labels),
    "uploaded": lambda scene: scene.has(".proctor"),
    "claimed": lambda scene: scene.has("alpha.0/stage.pre-start"),
    "running": lambda scene: scene.has("alpha.0/stage.running"),
    "ended": lambda scene: scene.has("alpha.0/stage.exit"),
    "scored": lambda scene: scene.holds("alpha.0/benchmark.json"),
    "child completed": lambda scene: scene.run.states().get("alpha") == "Completed",
    "all ended": lambda scene: scene.has("beta.1/stage.exit"),
    "all scored": lambda scene: scene.holds("beta.1/benchmark.json"),
    "exported": lambda scene: scene.holds("results.json"),
}


def look(name: str) -> float:
    """Seconds between two looks: a file costs nothing, an answer of the server a hundredth of a second of a core."""
    return 0.1 if name in {"recorded", "intent", "child completed"} else 0.02


def kill_at(name: str, stack: Stack, deployment: str, settings: dict[str, Any], work: Path, output: Path) -> str:
    """Kill the engine at a boundary; the answer is what is wrong afterwards."""
    run = stack.start(deployment, settings)
    scene = Scene(run, work, output)
    wait_for(lambda: run.engine, pause=0.1)
    engine = run.engine
    assert engine
    wait_for(lambda: BOUNDARIES[name](scene), pause=look(name))
    with suppress(ProcessLookupError):  # at the last moment it may have been over before
        os.kill(engine, signal.SIGKILL)
    scored = {path: path.stat().st_mtime_ns for path in output.glob(f"*-{run.id}/*/benchmark.json")}
    state = run.until()
    wrong = [f"{state}: {run.message}"] if state != "Completed" else []
    if (count := starts(folder_of(run, work) or work)) != {"alpha": 1, "beta": 1}:
        wrong.append(f"started {count}")
    if run.engine == engine and name != "exported":  # the last moment: it may have been over before it was killed
        wrong.append("no second engine was needed")
    wrong += [f"{path} was computed again" for path, time_ns in scored.items() if path.stat().st_mtime_ns != time_ns]
    if len(run.states()) != 2 or set(run.states().values()) != {"Completed"}:
        wrong.append(str(run.states()))
    return ", ".join([*wrong, *leftovers(run)])


def killed_everywhere(
    stack: Stack, deployment: str, settings: dict[str, Any], work: Path, output: Path, *names: str
) -> dict[str, str]:
    """What went wrong at each boundary at which the engine of an evaluation was killed; five evaluations at a time."""
    boundaries = names or tuple(BOUNDARIES)
    with ThreadPoolExecutor(5) as pool:
        done = pool.map(lambda name: kill_at(name, stack, deployment, settings, work, output), boundaries)
        found = dict(zip(boundaries, done, strict=True))
    return {name: wrong for name, wrong in found.items() if wrong}


@pytest.mark.timeout(1200)
def test_kill_the_engine_at_every_boundary(stack: Stack, tmp_path: Path, endpoint: str, place: dict[str, Any]) -> None:
    settings = config(tmp_path, endpoint, place)
    assert not killed_everywhere(stack, place["execution"]["type"], settings, tmp_path, tmp_path)


@pytest.mark.timeout(1200)
def test_kill_worker_and_server_at_every_boundary(
    stack: Stack, tmp_path: Path, endpoint: str, place: dict[str, Any]
) -> None:
    """Every other boundary on each backend, all of them on both; three evaluations at a time live through each other's."""
    settings, alone = config(tmp_path, endpoint, place), Lock()
    boundaries = list(BOUNDARIES)[place["execution"]["type"] == "process" :: 2]

    def lived_through(name: str) -> str:
        with alone:
            run = stack.start(place["execution"]["type"], settings)
        wait_for(lambda: BOUNDARIES[name](Scene(run, tmp_path, tmp_path)), 420, pause=look(name))
        with alone:
            stack.kill_worker()
            stack.kill_server()
            stack.start_server()
            stack.start_worker()
        state = run.until(seconds=420)
        wrong = [f"{state}: {run.message}"] if state != "Completed" else []
        if (count := starts(folder_of(run, tmp_path) or tmp_path)) != {"alpha": 1, "beta": 1}:
            wrong.append(f"started {count}")
        if len(run.states()) != 2 or set(run.states().values()) != {"Completed"}:
            wrong.append(str(run.states()))
        return ", ".join([*wrong, *leftovers(run)])

    with ThreadPoolExecutor(3) as pool:
        found = dict(zip(boundaries, pool.map(lived_through, boundaries), strict=True))
    assert not {name: wrong for name, wrong in found.items() if wrong}


@pytest.mark.parametrize("place", ["process"], indirect=True)
def test_a_killed_worker_ends_nothing(stack: Stack, tmp_path: Path, endpoint: str, place: dict[str, Any]) -> None:
    run = begin(stack, tmp_path, endpoint, place)
    engine_pid = run.engine
    stack.kill_worker()
    go(run)
    try:
        assert run.until() == "Completed"
    finally:
        stack.start_worker()
    assert run.engine == engine_pid
    assert starts(run.folder) == {"alpha": 1, "beta": 1}


def test_a_stopped_worker_ends_no_job(
    stack: Stack, tmp_path: Path, endpoint: str, processes_only: dict[str, Any]
) -> None:
    """Prefect's worker takes its engines with it; the benchmarks go on without, and the next worker brings one back."""
    run = begin(stack, tmp_path, endpoint, processes_only)
    stack.end_worker(signal.SIGTERM)
    go(run)
    try:
        wait_for((run.folder / "beta.1" / "stage.exit").exists)
    finally:
        stack.start_worker()
    assert run.until() == "Completed", run.message
    assert starts(run.folder) == {"alpha": 1, "beta": 1}


@pytest.mark.parametrize("place", ["local"], indirect=True)
def test_a_killed_server_ends_nothing(stack: Stack, tmp_path: Path, endpoint: str, place: dict[str, Any]) -> None:
    run = begin(stack, tmp_path, endpoint, place)
    folder = run.folder
    stack.kill_server()
    (folder / "alpha.0" / "go").touch()
    time.sleep(5)
    stack.start_server()
    go(run)
    assert run.until() == "Completed", run.message
    assert starts(folder) == {"alpha": 1, "beta": 1}
    assert run.states() == {"alpha": "Completed", "beta": "Completed"}


AGAIN = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True}
"""What somebody sets who takes an engine for dead."""


def test_a_worker_starts_no_second_engine_beside_its_own(
    stack: Stack, tmp_path: Path, endpoint: str, processes_only: dict[str, Any]
) -> None:
    run = begin(stack, tmp_path, endpoint, processes_only)
    engine_pid = run.engine
    stack.post(f"/flow_runs/{run.flow_run_id}/set_state", AGAIN).raise_for_status()
    time.sleep(5)
    assert run.state == "AwaitingRetry"
    go(run)
    assert run.until() == "Completed", run.message
    time.sleep(5)
    assert (run.state, run.engine, run.record["run_count"]) == ("Completed", engine_pid, 1)
    assert starts(run.folder) == {"alpha": 1, "beta": 1}


def test_a_second_engine_waits_and_changes_nothing(
    stack: Stack, tmp_path: Path, endpoint: str, processes_only: dict[str, Any]
) -> None:
    run = begin(stack, tmp_path, endpoint, processes_only)
    engine_pid = run.engine
    stack.kill_worker()
    stack.start_worker()  # it does not know of the engine
    stack.post(f"/flow_runs/{run.flow_run_id}/set_state", AGAIN).raise_for_status()
    wait_for(lambda: run.state == "Running" and run.record["run_count"] > 1)
    go(run)
    assert run.until() == "Completed"
    time.sleep(3)
    assert (run.state, run.engine) == ("Completed", engine_pid)
    assert starts(run.folder) == {"alpha": 1, "beta": 1}
    assert len(run.benchmarks()) == 2


def test_reconcile_brings_back_what_no_worker_reported(
    stack: Stack, tmp_path: Path, endpoint: str, processes_only: dict[str, Any]
) -> None:
    run = begin(stack, tmp_path, endpoint, processes_only)
    engine_pid = run.engine
    assert engine_pid
    stack.kill_worker()
    os.kill(engine_pid, signal.SIGKILL)
    assert run.state == "Running"
    code = (
        "import asyncio\nfrom prefect.client.orchestration import get_client\n"
        "from proctor.flows.reconcile import reconcile_all\n"
        "async def main():\n    async with get_client() as client:\n        print(await reconcile_all(client))\n"
        "asyncio.run(main())"
    )
    command = [sys.executable, "-c", code]

    def mended() -> str:
        return subprocess.run(command, env=stack.env, capture_output=True, text=True, check=True).stdout

    wait_for(lambda: f"{run.id}: its engine was dead, it comes back" in mended(), pause=2)
    stack.start_worker()
    go(run)
    assert run.until() == "Completed"
    assert run.engine != engine_pid
    assert starts(run.folder) == {"alpha": 1, "beta": 1}


def test_a_lost_benchmark_is_started_again(stack: Stack, tmp_path: Path, endpoint: str, place: dict[str, Any]) -> None:
    run = begin(stack, tmp_path, endpoint, place)
    murder(run, "alpha.0")
    go(run)
    assert run.until() == "Completed", run.message
    assert starts(run.folder) == {"alpha": 2, "beta": 1}
    assert len(jobs(run)) == 2
    assert not leftovers(run)


def murder(run: Run, step: str) -> None:
    """End a step from outside, so that it cannot say a last word."""
    (job,) = jobs(run)
    for container in containers(run, step):
        container.kill("KILL")
    marker = step_marker(job, step)
    processes.signal_all(processes.marked([marker])[marker], kill=True)


STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{GO}"
"""A harness that does not listen to TERM."""


def combined(name: str, *pairs: tuple[str, str]) -> pytest.MarkDecorator:
    """Some pairs of a backend and something else: all of them would take minutes and show nothing more."""
    return pytest.mark.parametrize(("place", name), pairs, indirect=["place"])


SCRIPTS = {"obeys": GO, "ignores TERM": STUBBORN}


@combined("harness", ("local", "obeys"), ("local", "ignores TERM"), ("process", "ignores TERM"))
def test_cancelling_leaves_nothing_behind(
    stack: Stack, tmp_path: Path, endpoint: str, place: dict[str, Any], harness: str
) -> None:
    run = begin(stack, tmp_path, endpoint, place, SCRIPTS[harness])
    assert leftovers(run)
    run.cancel()
    wait_for(lambda: not leftovers(run), 30)
    assert run.until() == "Cancelled"


COMMANDS = {"prefect": [PREFECT, "flow-run", "cancel"], "proctor": [PROCTOR, "kill"]}


def command(stack: Stack, *words: str) -> str:
    """What a command of a user says."""
    done = subprocess.run(
        words, env=stack.env, cwd=stack.home, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@combined("tool", ("process", "proctor"), ("local", "prefect"))
def test_cancelling_by_a_command_leaves_nothing_behind(
    stack: Stack, tmp_path: Path, endpoint: str, place: dict[str, Any], tool: str
) -> None:
    run = begin(stack, tmp_path, endpoint, place)
    command(stack, *COMMANDS[tool], run.flow_run_id if tool == "prefect" else run.id)
    wait_for(lambda: not leftovers(run), 30)
    assert run.until() == "Cancelled"
    assert starts(run.folder)["beta"] == 0


@combined("tool", ("process", "ui"), ("local", "proctor"), ("process", "prefect"))
def test_cancelling_one_benchmark_ends_it_alone(
    stack: Stack, tmp_path: Path, endpoint: str, place: dict[str, Any], tool: str
) -> None:
    run = begin(stack, tmp_path, endpoint, place)
    alpha = wait_for(lambda: next((each for each in run.benchmarks() if each["name"] == "fake.alpha"), None))
    assert alpha
    if tool == "ui":
        run.cancel(alpha["id"])
    else:
        command(stack, *COMMANDS[tool], str(alpha["id"]) if tool == "prefect" else f"{run.id}.alpha")
    wait_for(lambda: run.states()["alpha"] == "Cancelled", 30)
    go(run)
    assert run.until() == "Failed"
    assert run.states() == {"alpha": "Cancelled", "beta": "Completed"}
    assert not leftovers(run)
