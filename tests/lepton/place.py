"""The Lepton backend on a stand-in that only says what runs, and jobs for it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from proctor.blocks.errors import BackendError
from proctor.blocks.job import Container, EnvVar, JobHandle, JobSpec, Server, Step
from proctor.blocks.job_files import step_files, write_exit
from proctor.blocks.lepton.block import LeptonBackend
from proctor.blocks.lepton.ledger import opened
from proctor.blocks.lepton.shares import job_name
from proctor.configs.execution_schema import LeptonExecution
from tests.contract import Setup
from tests.lepton.login import section
from tests.lepton.script import Steps
from tests.lepton.service import Service

RUNS: Steps = [("Running", None)]
QUEUES: Steps = [("Queueing", None)]
ENDS: Steps = [("Completed", None)]
FAILS: Steps = [("Failed", None)]


class Place(Setup):
    """A section whose results come home through a volume, unless it says otherwise."""

    runs_code = False

    def __init__(self, folder: Path, service: Service, **more: Any) -> None:
        super().__init__(folder)
        self.folder.mkdir(exist_ok=True)
        self.service = service
        service.volumes["node-nfs:shared"] = self.folder
        mounted = {"via": "mount", "volume": "node-nfs:shared"}
        self.execution = LeptonExecution.model_validate(
            section(service, **{"output_dir": str(self.folder), "results": mounted, **more})
        )

    def backend(self) -> LeptonBackend:
        return LeptonBackend(execution=self.execution)

    def container(self, *env: EnvVar) -> Container:
        return Container(image="proctor-test/base:1", env=env)

    def leftovers(self, handle: JobHandle) -> list[str]:
        return [name for name in self.service.live() if name.startswith(handle.name)]

    def murder(self, handle: JobHandle, step: str) -> None:
        self.service.kill(job_name(handle, handle.steps.index(step)))

    def jobs(self, handle: JobHandle | JobSpec) -> list[str]:
        """The names of the jobs that there are of it, ended ones too."""
        names = [str(each["metadata"]["name"]) for each in self.service.jobs]
        return sorted(name for name in names if name.startswith(handle.name))

    def one(self, *env: EnvVar, attempt: int = 1, server: Server | None = None) -> JobSpec:
        """A job of one step."""
        return self.job(self.step("a.0", "", *env), server=server, attempt=attempt)

    def refused(self, job: JobSpec) -> BackendError:
        """Submit and expect a refusal."""
        answer = self.backend().submit([job])[job.name]
        assert isinstance(answer, BackendError), answer
        return answer

    def says(self, handle: JobHandle, step: str = "a.0") -> str:
        """What a person is told about a step."""
        return self.status(handle).steps[step].message

    def age(self, handle: JobHandle, seconds: float) -> None:
        """Let everything that the ledger remembers have happened so much earlier."""
        with opened(handle) as page:
            assert page
            for entry in (page, page.endpoint, *page.steps.values()):
                for name in ("at", "running", "moved", "ended", "looked", "probed", "silent"):
                    if value := getattr(entry, name, 0.0):
                        setattr(entry, name, value - seconds)

    def finish(self, handle: JobHandle, step: str = "a.0", code: str = "0") -> None:
        """Write the last word of a step, as its job does on the volume."""
        folder = step_files(handle, step).folder
        folder.mkdir(parents=True, exist_ok=True)
        write_exit(folder, handle.name, code, "")
        (folder / "results.yml").write_text("results: {}\n")

    def scripted(self, *, ready_timeout: float = 30) -> Server:
        """A model server whose endpoint is played by the stand-in."""
        return replace(self.server("serve --port {port}", ready_timeout), served_model=self.service.served_model)


def asks(step: Step, endpoint: str = "server") -> Step:
    """A step that asks an endpoint of the workspace with its token."""
    config = f"url: lepton://{endpoint}/v1\napi_key: PROCTOR_ENDPOINT_TOKEN\n"
    return replace(step, endpoint_url=f"lepton://{endpoint}/v1/chat/completions", run_config=config)


def posts(service: Service, path: str = "/jobs") -> int:
    """How often something was asked for."""
    return sum(1 for each in service.requests if each.method == "POST" and each.path == path)
