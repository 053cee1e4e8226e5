"""The half of a backend that is the same wherever jobs write into a folder of this machine; see docs/add-a-backend.md."""

import shutil
from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from proctor.blocks.answered import told
from proctor.blocks.backend import Backend
from proctor.blocks.errors import BackendError, RejectedError, ResultError
from proctor.blocks.job import JobHandle, JobSpec, JobStatus, Step
from proctor.blocks.job_files import (
    contained_script,
    forestall,
    look_at_step,
    note_cancel,
    settle,
    step_files,
    write_order,
    write_step,
)
from proctor.blocks.log_tail import follow as follow_log
from proctor.blocks.log_tail import last_lines
from proctor.blocks.stage_files import GONE, Seen, job_state
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import BaseExecution


class SharedFolderBackend(Backend):
    """Steps are containers that see their folder as /results and print into its harness.log; no model servers.

    A subclass renders, starts containers, says how they are, and stops them.
    """

    execution: BaseExecution

    @abstractmethod
    def start(self, job: JobSpec, steps: Sequence[Step]) -> None:
        """Bring up the containers of these steps, once by name; their scripts lie in their folders.

        Called again after a crash at any point. Raises RejectedError, and TransientError when it may be tried again.
        """

    @abstractmethod
    def witness(self, handles: Collection[JobHandle]) -> dict[tuple[str, str], Seen]:
        """What the engine says, by job name and step, in one round trip; what it does not know is left out."""

    @abstractmethod
    def stop(self, steps: Sequence[tuple[str, str]]) -> None:
        """End these steps (job name and step; TERM first, for their last word), and leave nothing of them behind."""

    def submit(self, jobs: Sequence[JobSpec]) -> dict[str, JobHandle | BackendError]:
        """Write what the steps read, and start those that never began."""
        return {job.name: self.submit_one(job) for job in jobs}

    def submit_one(self, job: JobSpec) -> JobHandle | BackendError:
        """One job, or why it was refused. Raises TransientError."""
        kind = str(getattr(self.execution, "type", ""))
        if job.server:
            return RejectedError(f"deployment: execution.type {kind} serves no models; choose deployment: none")
        new = [step for step in job.steps if not step_files(job, step.name).claim.exists()]
        write_order(job)
        for step in new:
            script = contained_script(job, step, self.execution.endpoint_readiness_timeout, counted=True)
            write_step(step_files(job, step.name), script, step.run_config)
        try:
            self.start(job, new)
        except RejectedError as error:
            return error
        except ConfigError as error:
            return RejectedError(str(error))
        return JobHandle(kind, job.name, job.evaluation, job.output_dir, tuple(step.name for step in job.steps))

    def poll(self, handles: Collection[JobHandle]) -> dict[JobHandle, JobStatus]:
        """The engine's word and the stage files, joined."""
        seen = self.witness(handles) if handles else {}
        return {handle: self.look(handle, seen) for handle in handles}

    def look(self, handle: JobHandle, seen: dict[tuple[str, str], Seen]) -> JobStatus:
        """How one job is doing."""
        steps = {name: look_at_step(handle, name, seen.get((handle.name, name), GONE), told) for name in handle.steps}
        return JobStatus(job_state(steps.values()), steps, observed=datetime.now(UTC))

    def logs(self, handle: JobHandle, step: str | None, *, follow: bool, tail: int) -> Iterator[str]:
        """The step's harness.log."""
        name = step or handle.steps[0]
        log = step_files(handle, name).log
        if not follow:
            return iter(last_lines(log, tail))
        return follow_log(log, tail, lambda: self.poll([handle])[handle].steps[name].state.final)

    def cancel(self, handles: Collection[JobHandle], step: str | None = None) -> dict[JobHandle, JobStatus]:
        """What has not begun never will; what has is told that its end is meant, and ended."""
        ending = [(handle, name) for handle in handles for name in ([step] if step else handle.steps)]
        for handle, name in ending:
            if not forestall(step_files(handle, name), name):
                note_cancel(step_files(handle, name))
        if ending:
            self.stop([(handle.name, name) for handle, name in ending])
        for handle, name in ending:
            settle(handle, [name])
        return self.poll(handles)

    def fetch(self, handle: JobHandle, step: str, dest: Path) -> Path:
        """The step's folder, which is on this machine."""
        folder, target = step_files(handle, step).folder, dest / step
        if not folder.is_dir():
            raise ResultError(f"{step}: its output folder {folder} is gone")
        if target.resolve() != folder.resolve():
            shutil.copytree(folder, target, dirs_exist_ok=True)
        return target
