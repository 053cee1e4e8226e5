"""Whole evaluations on the real cluster: results come home, kills double nothing, lost work runs again."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proctor.blocks.process import processes
from proctor.blocks.stages import step_marker
from tests.cluster import PREEMPTIBLE, SSH_PORT, SSHD, USER, as_user, fake_harness, jobs_of, preempt, ssh_config
from tests.flows.stack import Run, Stack, free_port
from tests.flows.test_reattach import BOUNDARIES, killed_everywhere
from tests.waiting import wait_for
from tests.wan_proxy import WanProxy

pytestmark = pytest.mark.live

PROCTOR = str(Path(sys.executable).parent / "proctor")
STEPS = {"alpha": "alpha.0", "beta": "beta.1"}


@pytest.fixture(scope="session")
def package(cluster_home: Path) -> str:
    """The fake harness where the cluster sees it."""
    return str(fake_harness(cluster_home))


def config(home: Path, shared: Path, package: str, endpoint: str, script: str = "", **execution: Any) -> dict[str, Any]:
    """Two benchmarks in one job of the cluster."""
    return {
        "execution": {
            "type": "slurm",
            "hostname": "cluster",
            "ssh_config": str(SSHD / "ssh_config"),
            "account": "eval",
            "partition": "gpu",
            "walltime": 600,
            "container_runtime": "none",
            "output_dir": str(shared),
            "image_cache": str(Path(package).parent / "results" / ".proctor-cache"),
            "local_dir": str(home),
            "poll_interval": 0.5,
            **execution,
        },
        "target": {"api_endpoint": {"url": endpoint, "model_id": "fake-model"}},
        "evaluation": {
            "trust_unlisted": True,
            "env_vars": {"FAKE_SCRIPT": f"lit:{script}"},
            "tasks": [{"name": f"fake.{name}", "packages": [package]} for name in STEPS],
        },
    }


def remote_folder(shared: Path, run: Run) -> Path:
    return next(iter(shared.glob(f"*-{run.id}")), shared / "none")


def starts(folder: Path) -> dict[str, int]:
    files = {name: folder / step / "ran" for name, step in STEPS.items()}
    return {name: path.read_text().count("start") if path.exists() else 0 for name, path in files.items()}


def submitted(run: Run) -> list[str]:
    """The Slurm jobs of an evaluation."""
    return jobs_of(run.id)


def living(run: Run) -> list[str]:
    """The Slurm jobs of an evaluation that have not ended."""
    names = as_user("squeue", "-h", "-o", "%j %i %T").splitlines()
    return [line for line in names if line.startswith(f"proctor-{run.id}-")]


def test_an_evaluation_runs_on_the_cluster_and_its_results_come_home(
    stack: Stack, tmp_path: Path, shared: Path, package: str, endpoint: str
) -> None:
    run = stack.start("slurm", config(tmp_path, shared, package, endpoint))
    assert run.until() == "Completed", run.message
    assert run.folder.parent == tmp_path
    assert (run.folder / "results.json").exists()
    for step in STEPS.values():
        assert (run.folder / step / "results.yml").exists()
        assert (run.folder / step / "harness.log").exists()
    assert len(submitted(run)) == 1
    assert not (remote_folder(shared, run) / ".proctor").joinpath("private").exists()


def test_a_preempted_job_runs_its_rest_again(
    stack: Stack, tmp_path: Path, shared: Path, package: str, endpoint: str
) -> None:
    script = "(out / 'again').exists() or 'beta' in str(out) or ((out / 'again').write_text(''), time.sleep(60))"
    run = stack.start("slurm", config(tmp_path, shared, package, endpoint, script, **PREEMPTIBLE))
    wait_for(lambda: starts(remote_folder(shared, run))["alpha"] == 1)
    preempt()
    assert run.until(seconds=300) == "Completed", run.message
    assert starts(remote_folder(shared, run)) == {"alpha": 2, "beta": 1}
    assert len(submitted(run)) == 2


def served(package: str, port: int) -> dict[str, Any]:
    """A model server in the allocation."""
    return {
        "type": "generic",
        "packages": [package],
        "command": f"fake-server {port}",
        "port": port,
        "served_model_name": "fake-model",
    }


def test_the_walltime_ends_a_job_with_its_server_and_the_rest_runs_again(
    stack: Stack, tmp_path: Path, shared: Path, package: str, endpoint: str
) -> None:
    script = "'alpha' in str(out) or (out / 'again').exists() or ((out / 'again').write_text(''), time.sleep(300))"
    settings = config(tmp_path, shared, package, endpoint, script, walltime=120)
    settings |= {"deployment": served(package, free_port()), "target": {}}
    run = stack.start("slurm", settings)
    assert run.until(seconds=300) == "Completed", run.message
    assert starts(remote_folder(shared, run)) == {"alpha": 1, "beta": 2}
    log = remote_folder(shared, run) / "server" / "harness.log"
    assert log.read_text().count("fake server is up") == 2
    assert len(submitted(run)) == 2


def test_killing_ends_the_successor_of_a_lost_job(
    stack: Stack, tmp_path: Path, shared: Path, package: str, endpoint: str
) -> None:
    script = "'beta' in str(out) or time.sleep(300)"
    run = stack.start("slurm", config(tmp_path, shared, package, endpoint, script))
    wait_for(lambda: starts(remote_folder(shared, run))["alpha"] == 1)
    ((name, first),) = (line.split() for line in submitted(run))
    marker = step_marker(name, STEPS["alpha"])
    harness = [each for each in processes.marked([marker])[marker] if "srun" not in each.name()]
    processes.signal_all(harness, kill=True)
    wait_for(lambda: starts(remote_folder(shared, run))["alpha"] == 2)
    assert [line for line in living(run) if line.split()[1] != first], "another job of Slurm runs it"
    done = subprocess.run([PROCTOR, "kill", run.id], env=stack.env, capture_output=True, text=True, check=False)
    assert (done.returncode, living(run)) == (0, []), done.stderr
    assert run.state == "Cancelled"


@pytest.mark.timeout(1200)
def test_kill_the_engine_at_every_boundary(
    stack: Stack, tmp_path: Path, shared: Path, package: str, endpoint: str
) -> None:
    settings = config(tmp_path, shared, package, endpoint, "time.sleep(3)")
    assert not killed_everywhere(stack, "slurm", settings, shared, tmp_path)
    names = as_user("sacct", "-X", "-n", "-P", "-o", "JobName", "-S", "now-1hours", "-u", USER).split()
    evaluations = {path.name.rpartition("-")[2] for path in shared.iterdir()}
    jobs = [name for name in names if name.startswith("proctor-") and name.split("-")[1] in evaluations]
    assert len(jobs) == len(set(jobs)) == len(BOUNDARIES)


@pytest.fixture
def proxy() -> Iterator[WanProxy]:
    with WanProxy(SSH_PORT) as proxy:
        yield proxy


def test_a_network_that_breaks_while_results_come_home_is_no_failure(
    stack: Stack, tmp_path: Path, shared: Path, package: str, endpoint: str, proxy: WanProxy
) -> None:
    script = "(out / 'large').write_bytes(os.urandom(3_000_000)); (out.parent / 'go').exists() or time.sleep(4)"
    settings = config(tmp_path, shared, package, endpoint, script, ssh_config=ssh_config(tmp_path, proxy.port))
    run = stack.start("slurm", settings)
    wait_for(lambda: starts(remote_folder(shared, run))["alpha"] == 1)
    proxy.cut_down = proxy.down + 1_000_000
    wait_for(lambda: proxy.down >= (proxy.cut_down or 0))
    proxy.cut_down = None
    assert run.until() == "Completed", run.message
    for step in STEPS.values():
        large = (run.folder / step / "large").read_bytes()
        assert large == (remote_folder(shared, run) / step / "large").read_bytes()
    assert len(submitted(run)) == 1


def test_a_cluster_that_stays_away_leaves_results_to_be_resumed(
    stack: Stack, tmp_path: Path, shared: Path, package: str, endpoint: str, proxy: WanProxy
) -> None:
    settings = config(tmp_path, shared, package, endpoint, "time.sleep(3)", patience=8)
    settings["execution"]["ssh_config"] = ssh_config(tmp_path, proxy.port)
    run = stack.start("slurm", settings)
    wait_for(lambda: starts(remote_folder(shared, run))["alpha"] == 1)
    proxy.refuse = True
    proxy.cut()
    assert run.until() == "Unavailable", run.message
    assert "was left alone" in run.message or "resume" in run.message
    proxy.refuse = False
    command = [PROCTOR, "resume", run.id, "--detach"]
    done = subprocess.run(command, env=stack.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert run.until("Completed", "Failed") == "Completed", run.message
    assert len(submitted(run)) == 1
    assert starts(remote_folder(shared, run)) == {"alpha": 1, "beta": 1}


def test_cancelling_ends_the_job(stack: Stack, tmp_path: Path, shared: Path, package: str, endpoint: str) -> None:
    run = stack.start("slurm", config(tmp_path, shared, package, endpoint, "time.sleep(300)"))
    wait_for(lambda: starts(remote_folder(shared, run))["alpha"] == 1)
    run.cancel()
    wait_for(lambda: not living(run), 30)
    assert run.until() == "Cancelled"
    assert set(run.states().values()) == {"Cancelled"}


def test_one_benchmark_can_be_cancelled_alone(
    stack: Stack, tmp_path: Path, shared: Path, package: str, endpoint: str
) -> None:
    script = "'beta' in str(out) or time.sleep(300)"
    run = stack.start("slurm", config(tmp_path, shared, package, endpoint, script))
    wait_for(lambda: starts(remote_folder(shared, run))["alpha"] == 1)
    alpha = wait_for(lambda: next((each for each in run.benchmarks() if each["name"] == "fake.alpha"), None))
    assert alpha
    run.cancel(alpha["id"])
    assert run.until() == "Failed"
    assert run.states() == {"alpha": "Cancelled", "beta": "Completed"}
    assert not living(run)
