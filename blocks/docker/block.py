"""The Docker backend: jobs as containers that need nobody to watch them."""

import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proctor.blocks.backend import Backend
from proctor.blocks.docker import containers, remote, strays
from proctor.blocks.docker.doctor import examine
from proctor.blocks.docker.engine import connect, engine_errors, ensure_image, facts, shares_files
from proctor.blocks.docker.parse import (
    LIVING,
    OWN_WORDS,
    blame,
    digests,
    failed,
    finished,
    out_of_memory,
    seen,
    server_end,
    server_status,
)
from proctor.blocks.docker.render import render
from proctor.blocks.docker.request import ContainerRequest, numbers, server_request, step_request
from proctor.blocks.errors import BackendError, RejectedError, ResultError
from proctor.blocks.finding import Finding
from proctor.blocks.job import EnvVar, JobHandle, JobSpec, JobState, JobStatus, ServerStatus, StepStatus
from proctor.blocks.job_files import (
    SERVER,
    contained_script,
    forestall,
    look_at_step,
    note_cancel,
    settle,
    step_files,
    write_exit,
    write_order,
    write_step,
)
from proctor.blocks.log_tail import last_lines
from proctor.blocks.secrets import value_of
from proctor.blocks.stage_files import Stage, job_state, read_folder
from proctor.blocks.stages import EXIT_UNAVAILABLE, GRACE_SECONDS, server_command
from proctor.blocks.stray import Stray
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import LocalExecution

if TYPE_CHECKING:
    from docker import DockerClient

SERVER_DEATH_GRACE = 5
"""Seconds that steps get to end once their server has died."""
LOG_LINES = 100_000
"""As many last lines of a container's log are kept in harness.log."""


class DockerBackend(Backend):
    """Runs each step and server as a container of the Docker engine (or of Podman's, which speaks its API)."""

    _block_type_name = "Proctor Docker Backend"
    _block_type_slug = "proctor-docker"

    execution: LocalExecution = LocalExecution()

    def client(self) -> "DockerClient":
        """The engine. Raises TransientError while it cannot be reached."""
        return connect(self.execution.docker_host)

    def render(self, job: JobSpec) -> str:
        """The job as `docker run` command lines."""
        return render(job, self.execution)

    def examine(self, jobs: Sequence[JobSpec]) -> Iterable[Finding]:
        """What `proctor doctor` says about these jobs here."""
        return examine(self.execution, jobs)

    def strays(self) -> Sequence[Stray]:
        """Everything of ours there."""
        return strays.find(self.client())

    def remove_strays(self, found: Collection[Stray]) -> None:
        """End these."""
        strays.remove(self.client(), found)

    def submit(self, jobs: Sequence[JobSpec]) -> dict[str, JobHandle | BackendError]:
        """Create and start every container that is not there yet."""
        client = self.client()
        there = self.listing(client, [job.name for job in jobs])
        return {job.name: self.submit_one(client, job, there[job.name]) for job in jobs}

    def submit_one(
        self, client: "DockerClient", job: JobSpec, there: Mapping[str, Mapping[str, Any]]
    ) -> JobHandle | BackendError:
        """Start one job, or say why it cannot be. Raises TransientError when it may be tried again."""
        try:
            requests = [each for each in self.requests(client, job) if not already_begun(job, each.step, there)]
            images = {containers.require_image(request) for request in requests}
            found = {image: ensure_image(client, image, self.execution) for image in images}
            values = {request.step: variables(request) for request in requests}
            shared = shares_files(client, self.execution)
            write_files(job, self.execution, counted=not shared)
            if shared:
                give_folders(job, requests)
            owners = {each.step: str(each.options.get("user", "0:0")) for each in requests}
            provide = None if shared else partial(remote.provide, client, job, owners)
            with engine_errors():
                containers.create_all(client, requests, found, values, provide)
        except (RejectedError, ConfigError) as error:
            with engine_errors():
                containers.remove_all(client, containers.listing(client, [job.name])[job.name].values())
            return error if isinstance(error, RejectedError) else RejectedError(str(error))
        return JobHandle("local", job.name, job.evaluation, job.output_dir, tuple(step.name for step in job.steps))

    def requests(self, client: "DockerClient", job: JobSpec) -> list[ContainerRequest]:
        """The containers of a job."""
        shared = shares_files(client, self.execution)
        owner = caller() if shared and not facts(client).rootless else "0:0"
        steps = [step_request(job, step, self.execution, owner, shared=shared) for step in job.steps]
        server = server_request(job, self.execution)
        return [server, *steps] if server else steps

    def listing(self, client: "DockerClient", jobs: Collection[str]) -> containers.Listing:
        """The containers of these jobs."""
        if not jobs:
            return {}
        with engine_errors():
            return containers.listing(client, jobs)

    def poll(self, handles: Collection[JobHandle]) -> dict[JobHandle, JobStatus]:
        """One listing of the engine, joined with the stage files."""
        client = self.client()
        there = self.listing(client, {handle.name for handle in handles})
        self.bring_stages(client, handles, there)
        return {handle: look(client, handle, there[handle.name]) for handle in handles}

    def bring_stages(self, client: "DockerClient", handles: Collection[JobHandle], there: containers.Listing) -> None:
        """Have the stage files of these jobs on this machine, where the engine does not see its folders."""
        if not shares_files(client, self.execution):
            with engine_errors():
                for handle in handles:
                    remote.mirror(client, handle, there[handle.name])

    def logs(self, handle: JobHandle, step: str | None, *, follow: bool, tail: int) -> Iterator[str]:
        """The container's log, or what was kept of it once the container is gone."""
        client, name = self.client(), step or SERVER
        entry = self.listing(client, {handle.name})[handle.name].get(name)
        if entry is None:
            yield from last_lines(step_files(handle, name).log, tail)
            return
        with engine_errors():
            stream = client.api.logs(entry["Id"], stream=True, follow=follow, tail=tail)
            yield from lines(stream)

    def cancel(self, handles: Collection[JobHandle], step: str | None = None) -> dict[JobHandle, JobStatus]:
        """Stop the containers (or one), keep their logs, and remove them."""
        client = self.client()
        there = self.listing(client, {handle.name for handle in handles})
        ending: list[Mapping[str, Any]] = []
        for handle in handles:
            for name in [step] if step else [*handle.steps, SERVER]:
                forestall(step_files(handle, name), name)
                note_cancel(step_files(handle, name))
            entries = there[handle.name]
            ending += [entry for name, entry in entries.items() if step in {None, name}]
        with engine_errors():
            if not shares_files(client, self.execution):
                remote.note_cancel(client, handles, there, step)
            containers.stop_all(client, ending, GRACE_SECONDS + 3)
        self.bring_stages(client, handles, self.listing(client, {handle.name for handle in handles}))
        for handle in handles:
            settle(handle, [step] if step else handle.steps)
        status = self.poll(handles)
        for handle in handles:
            for name, entry in there[handle.name].items():
                if step in {None, name}:
                    keep_log(client, handle, name, entry)
        with engine_errors():
            containers.remove_all(client, ending)
            if step is None and not shares_files(client, self.execution):
                remote.remove_volumes(client, handles)
        return status

    def fetch(self, handle: JobHandle, step: str, dest: Path) -> Path:
        """The step's folder, which the container wrote on this machine, with its log."""
        folder = step_files(handle, step).folder
        if not folder.is_dir():
            raise ResultError(f"{step}: its output folder {folder} is gone")
        client = self.client()
        entry = self.listing(client, {handle.name})[handle.name].get(step)
        if entry is not None:
            with engine_errors():
                if not shares_files(client, self.execution):
                    remote.bring(client, entry, folder)
                elif not ours(folder):
                    containers.hand_over(client, entry["ImageID"], folder, caller())
            keep_log(client, handle, step, entry)
        target = dest / step
        if target.resolve() != folder.resolve():
            shutil.copytree(folder, target, dirs_exist_ok=True)
        return target


def caller() -> str:
    """Whose the results are to be."""
    return f"{os.getuid()}:{os.getgid()}"


def ours(folder: Path) -> bool:
    """Whether all in a folder belongs to us."""
    return all(path.lstat().st_uid == os.getuid() for path in [folder, *folder.rglob("*")])


def give_folders(job: JobSpec, requests: Collection[ContainerRequest]) -> None:
    """Give the folder of each step that runs as another user to that user. Raises RejectedError where we may not."""
    for request in requests:
        uid, gid = numbers(str(request.options.get("user", "0")))
        if request.step == SERVER or uid in {0, os.getuid()}:
            continue
        if os.getuid() != 0:
            raise RejectedError(
                f"{request.step}: only root may let a container write its results as another user ({uid}); leave "
                "execution.user out, or run Proctor's worker as root"
            )
        folder = step_files(job, request.step).folder
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, uid, gid, follow_symlinks=False)


def already_begun(job: JobSpec, step: str, there: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a container need not be asked for: it runs, or its step has begun before and its container is gone."""
    entry = there.get(step)
    if entry is not None:
        return entry.get("State") != "created"
    return step_files(job, step).claim.exists()


def variables(request: ContainerRequest) -> dict[str, str]:
    """The environment of a container; `runtime` variables are those of the machine where Docker's client runs."""
    found = {}
    for variable in request.env:
        source = EnvVar(variable.name, "host", variable.value) if variable.source == "runtime" else variable
        found[variable.name] = value_of(source, request.step)
    return found


def write_files(job: JobSpec, execution: LocalExecution, *, counted: bool) -> None:
    """What the containers read, written before the first of them starts; no secret is among it."""
    write_order(job)
    for step in job.steps:
        script = contained_script(job, step, execution.endpoint_readiness_timeout, counted=counted)
        write_step(step_files(job, step.name), script, step.run_config)
    if job.server:
        write_step(step_files(job, SERVER), server_command(job.server), "")


def look(client: "DockerClient", handle: JobHandle, there: Mapping[str, Mapping[str, Any]]) -> JobStatus:
    """How one job is doing."""
    steps = {name: look_at(client, handle, name, there.get(name)) for name in handle.steps}
    server, end = look_at_server(client, handle, there)
    if server and end:
        end_steps(client, handle, {name: there.get(name) for name, status in steps.items() if not status.state.final})
        after = {name: look_at(client, handle, name, there.get(name)) for name in handle.steps}
        steps = {name: blame(status, end, server) for name, status in after.items()}
    state = job_state(steps.values()) if steps else JobState.UNKNOWN
    return JobStatus(state, steps, server, image_digests=digests(there), observed=datetime.now(UTC))


def end_steps(client: "DockerClient", handle: JobHandle, entries: Mapping[str, Mapping[str, Any] | None]) -> None:
    """End the steps of a job whose server is no more."""
    with engine_errors():
        containers.stop_all(client, [entry for entry in entries.values() if entry], SERVER_DEATH_GRACE)
    for files in (step_files(handle, name) for name in entries):
        if forestall(files, SERVER):
            write_exit(files.folder, handle.name, str(EXIT_UNAVAILABLE), "server died before it started")


def look_at(client: "DockerClient", handle: JobHandle, name: str, entry: Mapping[str, Any] | None) -> StepStatus:
    """How one step is doing; where it failed, the engine is asked why, which it knows once the container has ended."""
    status = look_at_step(handle, name, seen(entry, why(client, entry)))
    if entry is None or status.state is not JobState.FAILED or status.exit_code in {None, *OWN_WORDS}:
        return status
    if entry.get("State") in LIVING:
        return StepStatus(JobState.RUNNING, started=status.started, requests=status.requests)
    return replace(status, message=why(client, entry) or status.message)


def why(client: "DockerClient", entry: Mapping[str, Any] | None) -> str:
    """Why a container ended badly, if the engine knows."""
    if entry is None or not failed(entry):
        return ""
    with engine_errors():
        inspection = containers.inspect(client, entry)
    return out_of_memory(inspection) if inspection else ""


def look_at_server(
    client: "DockerClient", handle: JobHandle, there: Mapping[str, Mapping[str, Any]]
) -> tuple[ServerStatus | None, Stage | None]:
    """How the server is doing and, when nobody released it, how it ended; twice None for a job without a server."""
    files = step_files(handle, SERVER)
    if not files.script.exists():
        return None, None
    released = files.claim.exists()
    if not released and "exit" not in read_folder(files.folder, handle.name):
        note_server_end(client, handle, there)
    end = read_folder(files.folder, handle.name).get("exit")
    answered = any((step_files(handle, name).folder / "server-models.json").exists() for name in handle.steps)
    tail = "\n".join(last_lines(files.log, 20)) if end else ""
    return server_status(end, tail, released=released, there=SERVER in there, answered=answered), end


def note_server_end(client: "DockerClient", handle: JobHandle, there: Mapping[str, Mapping[str, Any]]) -> None:
    """Write down how a server ended that cannot do it itself, with its log, before anybody removes the container."""
    entry, inspection = there.get(SERVER), None
    if entry is not None and entry.get("State") not in LIVING:
        with engine_errors():
            inspection = containers.inspect(client, entry)
        keep_log(client, handle, SERVER, entry)
    end = server_end(entry, out_of_memory(inspection) if inspection else "", left=bool(there))
    if end:
        when = finished(inspection) if inspection else None
        write_exit(step_files(handle, SERVER).folder, handle.name, *end, when)


def keep_log(client: "DockerClient", handle: JobHandle, name: str, entry: Mapping[str, Any]) -> None:
    """Write what a container printed to its step's harness.log."""
    files = step_files(handle, name)
    files.folder.mkdir(parents=True, exist_ok=True)
    with engine_errors():
        text = containers.log(client, entry, LOG_LINES)
    if text is not None:
        files.log.write_bytes(text)


def lines(stream: Iterator[bytes]) -> Iterator[str]:
    """A stream of chunks as lines."""
    rest = b""
    for chunk in stream:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace").rstrip("\r") for line in whole)
    if rest:
        yield rest.decode(errors="replace")
