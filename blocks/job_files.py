"""What lies in the folder of a job on this machine, and where."""

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from proctor.blocks.answered import answered
from proctor.blocks.job import JobHandle, JobSpec, Step, StepStatus
from proctor.blocks.stage_files import CANCELLED, LOST, Seen, join, read_folder
from proctor.blocks.stages import EXIT_INTERRUPTED, StepPaths, server_wrapper, step_wrapper

CONTAINER_RESULTS = "/results"
CONTAINER_JOB = "/proctor/job"

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
    def cancelled(self) -> Path:
        """Made by who cancels the step, so that its wrapper knows that it was meant."""
        return self.folder / ".proctor" / f"cancel-{self.job}"

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


def contained_script(job: JobSpec, step: Step, ready_timeout: float, *, counted: bool = False) -> str:
    """The wrapper of a step in a container that sees its folder as /results and the job's as /proctor/job.

    It writes down how many requests were answered where that is to be `counted` from another machine.
    """
    files = step_files(job, step.name)
    order = f"{CONTAINER_JOB}/.proctor/{order_file(job).name}"
    run_config = f"{CONTAINER_RESULTS}/.proctor/{files.run_config.name}"
    paths = StepPaths(CONTAINER_RESULTS, CONTAINER_JOB, order, run_config)
    return step_wrapper(job, step, paths, ready_timeout, counted=counted)


def write_step(files: StepFiles, script: str, run_config: str) -> None:
    """The script and the run config of one step, unless its wrapper may already be reading them."""
    files.script.parent.mkdir(parents=True, exist_ok=True)
    if not files.claim.exists():
        write_whole(files.run_config, run_config)
        write_whole(files.script, script)


def write_order(job: JobSpec) -> None:
    """The file by which steps know their turn."""
    order_file(job).parent.mkdir(parents=True, exist_ok=True)
    write_whole(order_file(job), "".join(f"{step.name}\n" for step in job.steps))


def write_whole(path: Path, text: str) -> None:
    """Write a file by rename: a shell that reads it meanwhile goes on with what it has opened."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    temporary.write_text(text)
    temporary.rename(path)


def note_cancel(files: StepFiles) -> None:
    """Leave the word that a step is ended on purpose, before it is told to end."""
    if files.claim.is_dir():
        files.cancelled.touch()


def forestall(files: StepFiles, name: str) -> bool:
    """Take the claim of a step that has not started, so that it never will; False when it has."""
    if not files.folder.is_dir():
        return True
    files.claim.parent.mkdir(exist_ok=True)
    try:
        files.claim.mkdir()
    except FileExistsError:
        return False
    if name != SERVER:
        write_exit(files.folder, files.job, str(EXIT_INTERRUPTED), "cancelled before it started")
    return True


def settle(handle: JobHandle, names: Iterable[str]) -> None:
    """Write the end of cancelled steps that were killed before they could."""
    for name in names:
        files = step_files(handle, name)
        if files.cancelled.exists():
            write_exit(files.folder, files.job, str(EXIT_INTERRUPTED), f"{CANCELLED}; it had to be killed")


def look_at_step(
    handle: JobHandle, name: str, seen: Seen, count: Callable[[Path], int | None] = answered
) -> StepStatus:
    """How one step is doing, from its stage files and the other witness; `count` counts its requests from its folder.

    For a step that ended without being able to say so, stage.exit is written here, so that the next in line can start.
    """
    files = step_files(handle, name)
    stages = read_folder(files.folder, handle.name)
    status = join(stages, seen)
    if status.state.final and "exit" not in stages and files.folder.is_dir():
        code = "lost" if status.exit_code is None else str(status.exit_code)
        write_exit(files.folder, handle.name, code, status.message.removeprefix(LOST))
    return replace(status, requests=count(files.folder)) if status.started else status


def write_exit(folder: Path, job: str, code: str, words: str, time: datetime | None = None) -> None:
    """Write stage.exit for a step that cannot, whole and only if it is not there; `time` is when it ended, if known."""
    temporary = folder / f".stage.exit.{os.getpid()}"
    temporary.write_text(f"{time or datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {code} {job} {words}\n")
    if "exit" in read_folder(folder, job):
        temporary.unlink()
    else:
        temporary.rename(folder / "stage.exit")


def server_script(job: JobSpec) -> str:
    """The wrapper of the job's server."""
    if job.server is None:
        return ""
    return server_wrapper(job, job.server, str(step_files(job, SERVER).folder))
