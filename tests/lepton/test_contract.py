"""The Lepton backend against the contract: the stand-in runs real containers, the SDK speaks to it."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from proctor.blocks.backend import Backend
from proctor.blocks.job import Container, EnvVar, JobHandle, JobSpec, JobState
from proctor.blocks.lepton.block import LeptonBackend
from proctor.blocks.lepton.render import job_name
from proctor.blocks.stage_files import lost
from proctor.configs.execution_schema import LeptonExecution
from tests.contract import RunningContract, Setup
from tests.engine import fake_harness_image
from tests.lepton.login import log_in, section
from tests.lepton.service import Service
from tests.lepton.storage import Storage

pytestmark = pytest.mark.live


class LeptonSetup(Setup):
    """Jobs and endpoints of the stand-in."""

    results = "/results"

    def __init__(self, folder: Path, service: Service, **results: object) -> None:
        super().__init__(folder)
        self.service = service
        self.folder.mkdir()
        service.volumes["node-nfs:shared"] = folder
        self.execution = LeptonExecution.model_validate(
            section(service, output_dir=str(folder), results=results, max_parallel=1)
        )
        self.image = fake_harness_image()

    def backend(self) -> Backend:
        return LeptonBackend(execution=self.execution)

    def container(self, *env: EnvVar) -> Container:
        return Container(image=self.image, env=env)

    def leftovers(self, handle: JobHandle) -> list[str]:
        return [name for name in self.service.live() if name.startswith(handle.name)]

    def murder(self, handle: JobHandle, step: str) -> None:
        self.service.kill(job_name(handle, handle.steps.index(step)))


class TestMountedOnLegacyEndpoints(RunningContract):
    family: ClassVar[Literal["legacy", "new"]] = "legacy"
    results: ClassVar[dict[str, object]] = {"via": "mount", "volume": "node-nfs:shared"}

    @pytest.fixture
    def setup(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
        with Service(self.family, runner="docker", deletion=0.05) as service:
            log_in(monkeypatch, service)
            yield LeptonSetup(tmp_path, service, **self.results)


class TestMountedOnNewEndpoints(TestMountedOnLegacyEndpoints):
    family = "new"


class TestThroughTheLog(TestMountedOnLegacyEndpoints):
    """The way home that needs nothing: nothing is seen of a step's files until it has ended."""

    results: ClassVar[dict[str, object]] = {"via": "log"}

    def test_answered_requests_are_counted_while_it_runs(self, setup: Setup) -> None:
        pytest.skip("its cache is not to be seen from here")

    def test_a_murdered_step_is_lost_and_its_next_attempt_runs(self, setup: Setup) -> None:
        job = setup.job(setup.step("a.0", "time.sleep(60)"), setup.step("b.1"))
        (handle,) = setup.submit(job)
        setup.until(handle, lambda status: status.steps["a.0"].state is JobState.RUNNING)
        setup.murder(handle, "a.0")
        status = setup.wait(handle, 90)
        assert lost(status.steps["a.0"]), status
        assert status.steps["b.1"].state is JobState.COMPLETED, "the next in line is not held up"
        steps = (setup.step("a.0"),)
        (handle,) = setup.submit(JobSpec(job.name[:-1] + "2", job.evaluation, job.output_dir, steps, attempt=2))
        assert setup.wait(handle).state is JobState.COMPLETED
        assert setup.runs("a.0") == 1, "what the first one left went with its container"


class TestThroughAnObjectStore(TestThroughTheLog):
    """A real S3 server."""

    @pytest.fixture
    def setup(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: Storage) -> Iterator[Setup]:
        with Service("new", runner="docker", deletion=0.05) as service:
            log_in(monkeypatch, service)
            yield LeptonSetup(tmp_path, service, via="object", url=storage.url, options=storage.options)
