"""What lies in the folder of a job on this machine, and where; pure paths and texts."""

from dataclasses import dataclass
from pathlib import Path

from proctor.blocks.job import JobHandle, JobSpec, Step
from proctor.blocks.stages import StepPaths, server_wrapper, step_wrapper

SERVER = "server"
"""The folder of a job's server beside those of its steps."""


@dataclass(frozen=True, slots=True)
class StepFiles:
    """The files of one step of one job; a later attempt has files of its own in the same folder."""

    folder: Path
    job: str

    @property
    def claim(self) -> Path:
        """Made by the wrapper when it starts, atomically."""
        return self.folder / ".proctor" / f"claim-{self.job}"

    @property
    def script(self) -> Path:
        """The wrapper."""
        return self.folder / ".proctor" / f"{self.job}.sh"

    @property
    def run_config(self) -> Path:
        """What the harness reads."""
        return self.folder / ".proctor" / f"{self.job}.yaml"

    @property
    def log(self) -> Path:
        """What the wrapper and the harness print."""
        return self.folder / "harness.log"


def step_files(job: JobSpec | JobHandle, name: str) -> StepFiles:
    """Where the files of a step (or of SERVER) are."""
    return StepFiles(Path(job.output_dir) / name, job.name)


def order_file(job: JobSpec | JobHandle) -> Path:
    """The job's step names, one a line, in order."""
    return Path(job.output_dir) / ".proctor" / f"{job.name}.order"


def step_script(job: JobSpec, step: Step, ready_timeout: float) -> str:
    """The wrapper of a step that runs in place."""
    files = step_files(job, step.name)
    paths = StepPaths(str(files.folder), job.output_dir, str(order_file(job)), str(files.run_config))
    return step_wrapper(job, step, paths, ready_timeout)


def server_script(job: JobSpec) -> str:
    """The wrapper of the job's server."""
    if job.server is None:
        return ""
    return server_wrapper(job, job.server, str(step_files(job, SERVER).folder))
