"""The simulated backend against the contract."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from proctor.blocks.backend import Backend
from proctor.blocks.job import Container, EnvVar, JobHandle, JobState
from proctor.blocks.simulated.block import SimulatedBackend
from proctor.configs.execution_schema import SimulatedExecution
from tests.contract import BackendContract, Setup


class SimulatedSetup(Setup):
    """A timeline of half a second a step."""

    runs_code = False

    def backend(self) -> Backend:
        return SimulatedBackend(execution=SimulatedExecution(step_seconds=0.5))

    def container(self, *env: EnvVar) -> Container:
        return Container(env=env)

    def leftovers(self, handle: JobHandle) -> list[str]:
        return []

    def murder(self, handle: JobHandle, step: str) -> None:
        raise NotImplementedError("there is nothing to murder")


class TestSimulatedBackend(BackendContract):
    @pytest.fixture
    def setup(self, tmp_path: Path) -> Iterator[Setup]:
        yield SimulatedSetup(tmp_path)


def test_failures_and_vanishings_follow_the_script(tmp_path: Path) -> None:
    setup = SimulatedSetup(tmp_path)
    backend = SimulatedBackend(execution=SimulatedExecution(step_seconds=0, fail=["bad"], vanish=["away"]))
    (handle,) = setup.submit(setup.job(*(setup.step(name) for name in ("bad", "away", "good")), max_parallel=3))
    steps = backend.poll([handle])[handle].steps
    assert (steps["bad"].state, steps["bad"].exit_code) == (JobState.FAILED, 1)
    assert steps["away"].state is JobState.UNKNOWN
    assert steps["good"].state is JobState.COMPLETED
