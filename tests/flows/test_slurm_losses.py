"""Whole evaluations on the real cluster that lose what they run on: a node, their place, memory, or Slurm itself."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from proctor.blocks.process import processes
from proctor.blocks.stages import step_marker
from proctor.tasks.publish import PROGRESS_SECONDS
from tests.bare_cluster import bare_cluster
from tests.cluster import SLURM, SSH_PORT, UNTIL_GO, as_user, hold, ssh_config, start_again
from tests.flows.stack import Run, Stack
from tests.flows.test_slurm_flow import PROCTOR, STEPS, config, package, remote_folder, starts, submitted
from tests.waiting import wait_for
from tests.wan_proxy import WanProxy

__all__ = ["package"]
pytestmark = pytest.mark.live

ONCE = "(out / 'again').exists() or 'beta' in str(out) or ((out / 'again').write_text(''), time.sleep(300))"
"""The first benchmark lasts in its first attempt, the others end at once."""


def result(run: Run) -> dict[str, dict[str, Any]]:
    """What results.json says about each benchmark."""
    found = json.loads((run.folder / "results.json").read_text())["benchmarks"]
    return {each["step"].partition(".")[0]: each for each in found}


def job_ids(run: Run) -> list[str]:
    return [line.split()[1] for line in submitted(run)]


def on_two_nodes() -> dict[str, Any]:
    """The nodes that no other test takes first; one is left when the other one fails."""
    return {"sbatch_extra_flags": {"exclude": "n1,n2"}}


@contextmanager
def away(daemon: str) -> Iterator[int]:
    """Kill a daemon of the cluster, and start it again at the end; the value is the pid that it had."""
    hold()
    pid = int((SLURM / "run" / f"{daemon}.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    try:
        yield pid
    finally:
        start_again()


def known_for_good(run: Run) -> None:
    """Wait until a job runs and slurmctld has written that down; what it has not, it forgets when it is killed."""
    wait_for(lambda: row(run, STEPS["alpha"]).get("state") == "RUNNING")
    time.sleep(8)


def node_of(job_id: str) -> str:
    return as_user("squeue", "-h", "-j", job_id, "-o", "%N").strip()


def power_off(job_id: str) -> None:
    """End every process of a job on its node."""
    shepherds = [
        each for each in psutil.process_iter(["cmdline"]) if f"[{job_id}." in " ".join(each.info["cmdline"] or [])
    ]
    family = [child for each in shepherds for child in each.children(recursive=True)]
    processes.signal_all([*shepherds, *family], kill=True)


@pytest.mark.usefixtures("alone")
def test_what_a_node_took_down_with_it_runs_again_on_another(
    stack: Stack, tmp_path: Path, shared: Path, package: str, endpoint: str
) -> None:
    run = stack.start("slurm", config(tmp_path, shared, package, endpoint, ONCE, **on_two_nodes()))
    wait_for(lambda: starts(remote_folder(shared, run))["alpha"] == 1)
    (first,) = job_ids(run)
    with away(f"slurmd.{node_of(first)}"):
        power_off(first)
        assert run.until() == "Completed", run.message
    assert starts(remote_folder(shared, run)) == {"alpha": 2, "beta": 1}
    assert len(submitted(run)) == 2
    assert {name: each["attempts"] for name, each in result(run).items()} == {"alpha": 2, "beta": 2}


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("requeue", [False, True])
def test_a_node_that_slurm_has_given_up_ends_what_still_runs_there(
    stack: Stack, tmp_path: Path, shared: Path, package: str, endpoint: str, requeue: bool
) -> None:
    settings = config(tmp_path, shared, package, endpoint, ONCE, requeue=requeue, **on_two_nodes())
    run = stack.start("slurm", settings)
    wait_for(lambda: starts(remote_folder(shared, run))["alpha"] == 1)
    (line,) = submitted(run)
    name, first = line.split()
    folder, markers = remote_folder(shared, run), [step_marker(name, step) for step in STEPS.values()]
    with away(f"slurmd.{node_of(first)}"):
        wait_for(lambda: not any(processes.marked(markers).values()))
        assert starts(folder) == {"alpha": 1, "beta": 0}, "nothing runs twice at a time"
    assert run.until() == "Completed", run.message
    assert starts(folder) == {"alpha": 2, "beta": 1}
    assert len(submitted(run)) == (1 if requeue else 2), "Slurm starts it again, or we do"


def test_slurms_own_requeue_is_the_same_job_and_keeps_what_is_done(
    stack: Stack, tmp_path: Path, shared: Path, package: str, endpoint: str
) -> None:
    script = "'alpha' in str(out) or (out / 'again').exists() or ((out / 'again').write_text(''), time.sleep(300))"
    run = stack.start("slurm", config(tmp_path, shared, package, endpoint, script, requeue=True))
    wait_for(lambda: starts(remote_folder(shared, run))["beta"] == 1)
    (job_id,) = job_ids(run)
    as_user("scontrol", "requeue", job_id)
    assert run.until() == "Completed", run.message
    assert starts(remote_folder(shared, run)) == {"alpha": 1, "beta": 2}
    assert job_ids(run) == [job_id]
    assert {name: each["attempts"] for name, each in result(run).items()} == {"alpha": 1, "beta": 1}


HOG = "'beta' in str(out) or [bytearray(50_000_000) for _ in range(40)]"


def test_out_of_memory_is_reported_and_not_tried_again(
    stack: Stack, tmp_path: Path, shared: Path, package: str, endpoint: str
) -> None:
    run = stack.start("slurm", config(tmp_path, shared, package, endpoint, HOG, memory="400M"))
    assert run.until() == "Failed", run.message
    assert run.states() == {"alpha": "Failed", "beta": "Completed"}
    alpha = result(run)["alpha"]
    assert "out of memory" in alpha["message"]
    assert "execution.memory" in alpha["message"]
    assert starts(remote_folder(shared, run)) == {"alpha": 1, "beta": 1}
    assert len(submitted(run)) == 1


def row(run: Run, step: str) -> dict[str, Any]:
    """What the evaluation says about a benchmark now."""
    rows = json.loads(run.artifact("progress") or "[]")
    return next((dict(each) for each in rows if each["step"] == step), {})


@pytest.mark.usefixtures("alone")
def test_what_kills_slurms_controller_and_its_books_is_only_a_pause(
    stack: Stack, tmp_path: Path, shared: Path, package: str, endpoint: str
) -> None:
    script = f"'beta' in str(out) or {UNTIL_GO}"
    run = stack.start("slurm", config(tmp_path, shared, package, endpoint, script))
    known_for_good(run)
    folder = remote_folder(shared, run)
    with away("slurmdbd"), away("slurmctld"):
        wait_for(lambda: "Slurm cannot be asked" in row(run, STEPS["alpha"])["message"])
        seen = row(run, STEPS["alpha"])
        time.sleep(15)
        later = row(run, STEPS["alpha"])
        assert (later["state"], later["observed"]) == ("RUNNING", seen["observed"]), "the last state, and its age"
        as_user("touch", str(folder / "go"))
    assert run.until() == "Completed", run.message
    assert starts(folder) == {"alpha": 1, "beta": 1}
    assert len(submitted(run)) == 1


@pytest.mark.usefixtures("alone")
def test_a_controller_that_stays_away_leaves_the_job_to_be_resumed(
    stack: Stack, tmp_path: Path, shared: Path, package: str, endpoint: str
) -> None:
    script = f"'beta' in str(out) or {UNTIL_GO}"
    run = stack.start("slurm", config(tmp_path, shared, package, endpoint, script, patience=10))
    known_for_good(run)
    folder = remote_folder(shared, run)
    with away("slurmctld"):
        assert run.until() == "Unavailable", run.message
        assert "Slurm cannot be asked" in str(run.benchmarks())
    as_user("touch", str(folder / "go"))
    command = [PROCTOR, "resume", run.id, "--detach"]
    subprocess.run(command, env=stack.env, capture_output=True, text=True, check=True)
    assert run.until("Completed", "Failed") == "Completed", run.message
    assert starts(folder) == {"alpha": 1, "beta": 1}
    assert len(submitted(run)) == 1


def test_another_login_node_takes_over(stack: Stack, tmp_path: Path, shared: Path, package: str, endpoint: str) -> None:
    script = f"'beta' in str(out) or {UNTIL_GO}"
    with WanProxy(SSH_PORT) as proxy:
        path = ssh_config(tmp_path, proxy.port)
        run = stack.start("slurm", config(tmp_path, shared, package, endpoint, script, ssh_config=path))
        wait_for(lambda: row(run, STEPS["alpha"]).get("state") == "RUNNING")
        ssh_config(tmp_path, SSH_PORT)
        known = (tmp_path / "known_hosts").read_text()
        (tmp_path / "known_hosts").write_text("")
        proxy.refuse = True
        proxy.cut()

    def stands() -> bool:
        """Whether nothing new is known, as the new node's key is not."""
        seen = row(run, STEPS["alpha"])
        time.sleep(3 * PROGRESS_SECONDS)
        return row(run, STEPS["alpha"]) == seen

    wait_for(stands)  # what was under way when the network broke is written down
    seen = row(run, STEPS["alpha"])
    time.sleep(10)
    assert row(run, STEPS["alpha"]) == seen, "the last state, and its age"
    assert run.state == "Running"
    (tmp_path / "known_hosts").write_text(known)
    as_user("touch", str(remote_folder(shared, run) / "go"))
    assert run.until() == "Completed", run.message
    assert starts(remote_folder(shared, run)) == {"alpha": 1, "beta": 1}
    assert len(submitted(run)) == 1


def just_begun(stack: Stack, settings: dict[str, Any], shared: Path) -> Run:
    """An evaluation whose job has begun, and slurmctld has not written that down; on a busy machine it takes several."""
    while True:
        time.sleep(8)
        run = stack.start("slurm", settings)
        (begun,) = wait_for(lambda run=run: list(remote_folder(shared, run).glob(".proctor/*/begun")), pause=0.02)  # type: ignore[misc]
        since = (begun.parent / "job_id").stat().st_mtime
        if time.time() - since < 3.5 and not list(remote_folder(shared, run).glob("*/stage.pre-start")):
            return run
        run.cancel()
        run.until("Cancelled")


def test_a_controller_killed_right_after_it_started_a_job_costs_an_attempt_and_nothing_else(
    stack: Stack, tmp_path: Path, shared: Path, package: str, endpoint: str
) -> None:
    with bare_cluster() as bare:
        settings = config(tmp_path, shared, package, endpoint, "time.sleep(2)", **bare.changes())
        bare.as_user("sbatch", "--output=/dev/null", "--wrap", "true")
        run = just_begun(stack, settings, shared)
        with bare.controller_killed():
            pass
        assert run.until(seconds=300) == "Completed", run.message
        assert {name: each["attempts"] for name, each in result(run).items()} == {"alpha": 2, "beta": 2}
