"""The Lepton backend: benchmarks are jobs of the cloud, beside an endpoint for the model server."""

import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from proctor.blocks.backend import Backend
from proctor.blocks.errors import BackendError, RejectedError, ResultError, TransientError
from proctor.blocks.finding import Finding
from proctor.blocks.job import JobHandle, JobSpec, JobStatus
from proctor.blocks.job_files import step_files
from proctor.blocks.lepton import logs, overseer, removal, strays
from proctor.blocks.lepton.doctor import examine
from proctor.blocks.lepton.homecoming import bring_home, verify_patiently
from proctor.blocks.lepton.last_words import has_ended
from proctor.blocks.lepton.logs import Part, Source
from proctor.blocks.lepton.render import endpoint_name, render
from proctor.blocks.lepton.shares import share_of
from proctor.blocks.lepton.workspace import Workspace
from proctor.blocks.log_tail import follow as follow_file
from proctor.blocks.log_tail import last_lines as last_lines_of_file
from proctor.blocks.stray import Stray
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import LeptonExecution


class LeptonBackend(Backend):
    """Jobs and endpoints of a Lepton workspace, through its SDK."""

    _block_type_name = "Proctor Lepton Backend"
    _block_type_slug = "proctor-lepton"

    execution: LeptonExecution = LeptonExecution()

    @property
    def workspace(self) -> Workspace:
        """The workspace; its client is shared with every other block of the same login in this process."""
        return Workspace(self.execution)

    def render(self, job: JobSpec) -> str:
        """The documents that Lepton is sent."""
        return render(job, self.execution)

    def examine(self, jobs: Sequence[JobSpec]) -> Iterable[Finding]:
        """What `proctor doctor` says about these jobs here."""
        return examine(self.workspace, jobs)

    def strays(self) -> Sequence[Stray]:
        """Everything of ours in the workspace."""
        return strays.find(self.workspace)

    def remove_strays(self, found: Collection[Stray]) -> None:
        """Delete these."""
        strays.remove(self.workspace, found)

    def submit(self, jobs: Sequence[JobSpec]) -> dict[str, JobHandle | BackendError]:
        """The endpoint, or the first benchmarks where there is none; `poll` starts the others when their turn comes."""
        try:
            return {job.name: overseer.submit(self.workspace, job) for job in jobs}
        except ConfigError as error:
            return {job.name: RejectedError(str(error)) for job in jobs}

    def poll(self, handles: Collection[JobHandle]) -> dict[JobHandle, JobStatus]:
        """One listing for all jobs, and one look at each endpoint that is still needed."""
        if not handles:
            return {}
        try:
            listed = self.workspace.jobs(prefix_of(handles))
            return {handle: overseer.look(self.workspace, handle, listed) for handle in handles}
        except (RejectedError, ConfigError) as error:
            raise TransientError(str(error)) from error

    def logs(self, handle: JobHandle, step: str | None, *, follow: bool, tail: int) -> Iterator[str]:
        """From the step's folder where its log is there, else from Lepton."""
        if step is None:
            source = Source("endpoint", endpoint_name(handle), logs.beginning(0) - 7 * 86400)
            lines = logs.last_lines(self.workspace, source, tail)
            return self.server_log(handle, source, tail) if follow else iter(lines)
        path = step_files(handle, step).log
        if path.exists() and (self.execution.results.via == "mount" or has_ended(handle, step)):
            return follow_file(path, tail, self.ended(handle, step)) if follow else iter(last_lines_of_file(path, tail))
        return self.remote_log(handle, step, tail, follow=follow)

    def server_log(self, handle: JobHandle, source: Source, tail: int) -> Iterator[str]:
        """The log of the job's model server until its benchmarks have ended."""
        return logs.follow(self.workspace, source, tail, lambda: all(has_ended(handle, step) for step in handle.steps))

    def ended(self, handle: JobHandle, step: str) -> Callable[[], bool]:
        """Whether a step is final, as far as it can be seen: here as often as it is asked, on Lepton only seldom."""
        asked = float("-inf")

        def over() -> bool:
            nonlocal asked
            if has_ended(handle, step) or time.monotonic() < asked + logs.pause_for(self.workspace):
                return has_ended(handle, step)
            asked = time.monotonic()
            try:
                return self.poll([handle])[handle].steps[step].state.final
            except TransientError:
                return False

        return over

    def remote_log(self, handle: JobHandle, step: str, tail: int, *, follow: bool) -> Iterator[str]:
        """Lines of a step from the log of its job on Lepton."""
        share, ended = share_of(handle, step, self.execution), self.ended(handle, step)
        job = self.workspace.jobs(share.name).get(share.name)
        while job is None and follow and not ended():
            logs.wait(self.workspace)
            job = self.workspace.jobs(share.name).get(share.name)
        if job is None:
            return
        yield from logs.course(handle, share)
        source = Source("job", job.id, logs.beginning(job.created))
        part = Part(share.mark(step) if share.together else "")
        if follow:
            yield from logs.follow(self.workspace, source, tail, ended, part)
        else:
            yield from logs.last_lines(self.workspace, source, tail, part)

    def cancel(self, handles: Collection[JobHandle], step: str | None = None) -> dict[JobHandle, JobStatus]:
        """Delete jobs, endpoints and secrets, and wait until nothing runs any more."""
        removal.end(self.workspace, handles, step)
        return self.poll(handles)

    def fetch(self, handle: JobHandle, step: str, dest: Path) -> Path:
        """The step's folder: its output comes home when its job ends."""
        folder, target = step_files(handle, step).folder, dest / step
        if not has_ended(handle, step):
            self.fetch_now(handle, step)
        if not folder.is_dir():
            raise ResultError(f"{step}: its output never came home from Lepton")
        if self.execution.results.via == "mount":
            verify_patiently(handle, step)
        folder.joinpath("harness.log").touch()
        if target.resolve() != folder.resolve():
            shutil.copytree(folder, target, dirs_exist_ok=True)
        return target

    def fetch_now(self, handle: JobHandle, step: str) -> None:
        """Bring home what an ended job left."""
        name = share_of(handle, step, self.execution).name
        job = self.workspace.jobs(name).get(name)
        if job:
            bring_home(self.workspace, handle, step, job)


def prefix_of(handles: Collection[JobHandle]) -> str:
    """What the names of all these jobs begin with: those of one evaluation share more than our name."""
    evaluations = {handle.evaluation for handle in handles}
    return f"proctor-{evaluations.pop()}-" if len(evaluations) == 1 else "proctor-"
