"""The Slurm backend against the contract, on a real cluster behind a real sshd."""

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from proctor.blocks.backend import Backend
from proctor.blocks.job import Container, EnvVar, JobHandle
from proctor.blocks.process import processes
from proctor.blocks.slurm.block import SlurmBackend
from proctor.blocks.stages import step_marker
from tests.cluster import as_user, execution, fake_harness
from tests.contract import RunningContract, Setup

pytestmark = pytest.mark.live


class SlurmSetup(Setup):
    """Jobs without containers, in an environment on the shared file system that holds the fake harness."""

    def __init__(self, home: Path) -> None:
        super().__init__(home / "tests" / uuid.uuid4().hex[:8])
        as_user("mkdir", "-p", str(self.folder.parent))
        self.package = fake_harness(home)

    def backend(self) -> Backend:
        return SlurmBackend(execution=execution())

    def container(self, *env: EnvVar) -> Container:
        return Container(packages=(str(self.package),), env=env)

    def leftovers(self, handle: JobHandle) -> list[str]:
        markers = [step_marker(handle.name, name) for name in (*handle.steps, "server")]
        left = [str(process) for found in processes.marked(markers).values() for process in found]
        return left + as_user("squeue", "-h", "-n", handle.name).split()

    def murder(self, handle: JobHandle, step: str) -> None:
        marker = step_marker(handle.name, step)
        found = [each for each in processes.marked([marker])[marker] if "srun" not in each.name()]
        processes.signal_all(found, kill=True)

    def close(self) -> None:
        super().close()
        subprocess.run(["rm", "-rf", self.folder.parent], check=False)


class TestSlurmBackend(RunningContract):
    @pytest.fixture
    def setup(self, cluster_home: Path) -> Iterator[Setup]:
        yield SlurmSetup(cluster_home)
