"""A controller of Slurm that is killed before it has written down that it accepted a job, or that it started one."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
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


def unwritten(before: Callable[[], None], act: Callable[[], T], undo: Callable[[T], object]) -> T:
    """What was done before slurmctld could write it down; on a busy machine it may take several tries."""
    while True:
        before()
        asked = time.monotonic()
        done = act()
        if time.monotonic() - asked < SAVES - 1:
            return done
        undo(done)


def begun(bare: BareCluster, setup: SlurmSetup, before: Callable[[], None]) -> tuple[JobSpec, JobHandle]:
    """A job that has just begun, before slurmctld could write that down."""
    backend = SlurmBackend(execution=bare.section(sbatch_extra_flags={"nodelist": "b1"}))

    def begin() -> tuple[JobSpec, JobHandle]:
        job = setup.job(setup.step("done.0"), setup.step("a.1", "time.sleep(12)"))
        (handle,) = submit(backend, setup, job)
        wait_for((setup.folder / ".proctor" / handle.name / "begun").exists, pause=0.02)
        return job, handle

    def remove(begun: tuple[JobSpec, JobHandle]) -> None:
        backend.cancel([begun[1]])
        shutil.rmtree(setup.folder)

    return unwritten(before, begin, remove)


def wrote(bare: BareCluster) -> None:
    """Let slurmctld write down another job, after which it writes nothing for a while."""
    time.sleep(SAVES * 2)
    bare.as_user("sbatch", "--output=/dev/null", "--wrap", "true")
    time.sleep(0.5)


def runs_again(setup: SlurmSetup, job: JobSpec) -> None:
    second = replace(job, name=job.name[:-1] + "2", steps=job.steps[1:], attempt=2)
    (handle,) = setup.submit(second)
    assert setup.wait(handle).state is JobState.COMPLETED
    assert setup.runs("a.1") in {1, 2}


@pytest.mark.parametrize("meanwhile", [nothing, end_processes], ids=["goes on", "ends"])
def test_a_job_that_slurm_takes_for_pending_runs_again(
    bare: BareCluster, there: SlurmSetup, meanwhile: Callable[[JobHandle], None]
) -> None:
    there.submit(there.job(there.step("warm.0")))
    job, handle = begun(bare, there, lambda: time.sleep(SAVES * 2))
    with bare.controller_killed():
        meanwhile(handle)
    status = there.wait(handle)
    assert all(map(lost, status.steps.values())), status
    runs_again(there, job)


def test_a_job_whose_id_slurm_gives_to_another_runs_again_and_leaves_that_one_alone(
    bare: BareCluster, there: SlurmSetup
) -> None:
    there.submit(there.job(there.step("warm.0")))
    job, first = begun(bare, there, lambda: wrote(bare))
    with bare.controller_killed():
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
    (handle,) = unwritten(lambda: wrote(bare), lambda: submit(held, there, there.job(there.step("a.1"))), held.cancel)
    with bare.controller_killed():
        pass
    assert bare.has_forgotten(handle.native_id)
    assert there.status(handle).state is JobState.UNKNOWN, "it may only be slow to appear"
    written = there.folder / ".proctor" / handle.name / "job_id"
    os.utime(written, (time.time() - 700, time.time() - 700))
    assert lost(there.status(handle).steps["a.1"])
