"""A controller of Slurm that is killed before it has written down that it accepted a job, or that it started one."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from proctor.blocks.job import JobHandle, JobSpec, JobState
from proctor.blocks.process import processes
from proctor.blocks.slurm.block import SlurmBackend
from proctor.blocks.stage_files import lost
from tests.bare_cluster import BareCluster, bare_cluster
from tests.blocks.slurm.test_bare import there
from tests.blocks.slurm.test_contract import SlurmSetup
from tests.blocks.slurm.test_faults import submit
from tests.waiting import wait_for

__all__ = ["there"]
pytestmark = pytest.mark.live
T = TypeVar("T")

SAVES = 5
"""Seconds between two times at which slurmctld writes its state down; what changes after a longer pause, it writes at once."""


@pytest.fixture
def bare(cluster_home: Path) -> Iterator[BareCluster]:
    """A cluster for each test: it takes a node away that was to run a job twice."""
    assert cluster_home
    with bare_cluster() as cluster:
        yield cluster


def end_processes(handle: JobHandle) -> None:
    """End what a job runs, but not the daemon that tells the controller of its end."""
    shepherds = [
        each
        for each in psutil.process_iter(["cmdline"])
        if f"[{handle.native_id}." in " ".join(each.info["cmdline"] or [])
    ]
    processes.signal_all([child for each in shepherds for child in each.children(recursive=True)], kill=True)


def nothing(handle: JobHandle) -> None:
    """It goes on."""


@contextmanager
def unwritten(
    bare: BareCluster,
    before: Callable[[], float],
    act: Callable[[], T],
    undo: Callable[[T], object],
    early: Callable[[T], bool] = lambda _: True,
) -> Iterator[T]:
    """Without a controller, which was killed before it could write this down; on a busy machine it may take several tries.

    `before` says since when it writes nothing, and `early` whether what was done has not come too far.
    """
    while True:
        since = before()
        done = act()
        if time.monotonic() - since < SAVES - 1 and early(done):
            break
        undo(done)
    with bare.controller_killed():
        yield done


def quiet() -> float:
    """Let slurmctld have nothing to write down for a while; what happens then it would write at once, but for its next turn."""
    time.sleep(SAVES * 2)
    return time.monotonic()


@contextmanager
def begun(bare: BareCluster, setup: SlurmSetup, before: Callable[[], float]) -> Iterator[tuple[JobSpec, JobHandle]]:
    """A job that has just begun, and no controller, which could not write that down."""
    backend = SlurmBackend(execution=bare.section(sbatch_extra_flags={"nodelist": "b1"}))

    def begin() -> tuple[JobSpec, JobHandle]:
        job = setup.job(setup.step("done.0"), setup.step("a.1", "time.sleep(12)"))
        (handle,) = submit(backend, setup, job)
        wait_for((setup.folder / ".proctor" / handle.name / "begun").exists, pause=0.02)
        return job, handle

    def remove(begun: tuple[JobSpec, JobHandle]) -> None:
        backend.cancel([begun[1]])
        shutil.rmtree(setup.folder)

    def runs_nothing(_: tuple[JobSpec, JobHandle]) -> bool:
        return not list(setup.folder.glob("*/stage.pre-start"))

    with unwritten(bare, before, begin, remove, runs_nothing) as found:
        yield found


def wrote(bare: BareCluster) -> float:
    """Let slurmctld write down another job, after which it writes nothing for a while: since when."""
    time.sleep(SAVES * 2)
    since = time.monotonic()
    bare.as_user("sbatch", "--output=/dev/null", "--wrap", "true")
    time.sleep(0.5)
    return since


def runs_again(setup: SlurmSetup, job: JobSpec) -> None:
    second = replace(job, name=job.name[:-1] + "2", steps=job.steps[1:], attempt=2)
    (handle,) = setup.submit(second)
    assert setup.wait(handle).state is JobState.COMPLETED
    assert setup.runs("a.1") in {1, 2}


@pytest.mark.parametrize("meanwhile", [nothing, end_processes], ids=["goes on", "ends"])
def test_a_job_that_slurm_takes_for_pending_runs_again(
    bare: BareCluster, there: SlurmSetup, meanwhile: Callable[[JobHandle], None]
) -> None:
    there.wait(there.submit(there.job(there.step("warm.0")))[0])
    with begun(bare, there, quiet) as (job, handle):
        meanwhile(handle)
    status = there.wait(handle)
    assert all(map(lost, status.steps.values())), status
    runs_again(there, job)


def test_a_job_whose_id_slurm_gives_to_another_runs_again_and_leaves_that_one_alone(
    bare: BareCluster, there: SlurmSetup
) -> None:
    there.wait(there.submit(there.job(there.step("warm.0")))[0])
    with begun(bare, there, lambda: wrote(bare)) as (job, first):
        pass
    assert bare.has_forgotten(first.native_id)
    elsewhere = SlurmBackend(execution=bare.section(sbatch_extra_flags={"nodelist": "b2"}))
    jobs = [there.job(there.step(f"other.{number}", "time.sleep(20)")) for number in range(3)]
    others = submit(elsewhere, there, *jobs)
    other = next(each for each in others if each.native_id == first.native_id)
    there.until(other, lambda status: status.state is JobState.RUNNING)
    status = there.wait(first)
    assert lost(status.steps["a.1"]), status
    there.backend().cancel([first])
    assert there.wait(other).state is JobState.COMPLETED
    runs_again(there, job)


def test_a_job_that_was_forgotten_before_it_began_runs_again_after_a_while(
    bare: BareCluster, there: SlurmSetup
) -> None:
    held = SlurmBackend(execution=bare.section(sbatch_extra_flags={"hold": True}))

    def ask() -> list[JobHandle]:
        return submit(held, there, there.job(there.step("a.1")))

    with unwritten(bare, lambda: wrote(bare), ask, held.cancel) as (handle,):
        pass
    assert bare.has_forgotten(handle.native_id)
    assert there.status(handle).state is JobState.UNKNOWN, "it may only be slow to appear"
    written = there.folder / ".proctor" / handle.name / "job_id"
    os.utime(written, (time.time() - 700, time.time() - 700))
    assert lost(there.status(handle).steps["a.1"])
