"""A cluster without accounting that has forgotten a job: its files alone tell how it ended."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proctor.blocks.job import JobHandle, JobState, JobStatus
from proctor.blocks.slurm.block import SlurmBackend
from proctor.blocks.stage_files import lost
from tests.bare_cluster import BareCluster
from tests.blocks.slurm.test_contract import SlurmSetup
from tests.blocks.slurm.test_faults import submit
from tests.cluster import UNTIL_GO, as_user
from tests.waiting import wait_for

pytestmark = pytest.mark.live


@pytest.fixture
def there(cluster_home: Path, bare: BareCluster) -> Iterator[SlurmSetup]:
    class There(SlurmSetup):
        def backend(self) -> SlurmBackend:
            return SlurmBackend(execution=bare.section(walltime=120, memory="400M"))

    setup = There(cluster_home)
    yield setup
    setup.close()


def nothing(bare: BareCluster, handle: JobHandle) -> None:
    """It ends by itself."""


def scancelled(bare: BareCluster, handle: JobHandle) -> None:
    bare.as_user("scancel", handle.native_id)


ENDS: dict[str, tuple[str, Callable[[BareCluster, JobHandle], None], Callable[[JobStatus], bool]]] = {
    "by itself": ("sys.exit(3)", nothing, lambda seen: seen.steps["b.1"].exit_code == 3),
    "scancel": ("time.sleep(300)", scancelled, lambda seen: seen.steps["b.1"].state is JobState.CANCELLED),
    "memory": (
        "held = [bytearray(50_000_000) for _ in range(20)]; time.sleep(60)",
        nothing,
        lambda seen: seen.steps["b.1"].exit_code == 137 and "execution.memory" in seen.steps["b.1"].message,
    ),
    "walltime": (
        "time.sleep(300)",
        nothing,
        lambda seen: lost(seen.steps["b.1"]) and "walltime" in seen.steps["b.1"].message,
    ),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_job_that_nobody_remembers_has_ended_as_it_did(bare: BareCluster, there: SlurmSetup, how: str) -> None:
    script, act, right = ENDS[how]
    backend = there.backend()
    assert isinstance(backend, SlurmBackend)
    (handle,) = submit(backend, there, there.job(there.step("a.0"), there.step("b.1", script)))
    there.until(handle, lambda _: there.runs("b.1") == 1)
    act(bare, handle)
    wait_for(lambda: bare.has_forgotten(handle.native_id))
    status = there.status(handle)
    assert status.steps["a.0"].state is JobState.COMPLETED
    assert status.state.final
    assert right(status), status


def test_a_job_that_slurm_ends_because_it_could_never_start_is_told_why(bare: BareCluster, there: SlurmSetup) -> None:
    failing = bare.as_user("sbatch", "--hold", "--parsable", "--output=/dev/null", "--wrap", "exit 1").strip()
    waiting = SlurmBackend(execution=bare.section(dependency=f"afterok:{failing}"))
    (handle,) = submit(waiting, there, there.job(there.step("a.0")))
    bare.as_user("scontrol", "release", failing)
    status = there.wait(handle)
    assert status.steps["a.0"].state is JobState.CANCELLED
    assert "DependencyNeverSatisfied" in status.steps["a.0"].message, status


def test_a_job_without_accounting_is_followed_to_its_end(bare: BareCluster, there: SlurmSetup) -> None:
    (handle,) = there.submit(there.job(there.step("a.0", UNTIL_GO), there.step("b.1")))
    there.until(handle, lambda status: status.steps["a.0"].state is JobState.RUNNING)
    as_user("touch", str(there.folder / "go"))
    assert there.wait(handle).state is JobState.COMPLETED
