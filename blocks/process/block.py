"""The process backend: jobs as local processes that outlive whoever started them."""

import os
import shutil
import subprocess
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from proctor.blocks.backend import Backend
from proctor.blocks.errors import BackendError, RejectedError, ResultError
from proctor.blocks.finding import Finding
from proctor.blocks.job import Container, JobHandle, JobSpec, JobState, JobStatus, ServerStatus, StepStatus
from proctor.blocks.job_files import (
    SERVER,
    StepFiles,
    forestall,
    look_at_step,
    note_cancel,
    server_script,
    settle,
    step_files,
    step_script,
    write_exit,
    write_order,
    write_step,
)
from proctor.blocks.log_tail import follow, last_lines
from proctor.blocks.process import processes, strays
from proctor.blocks.process.doctor import examine
from proctor.blocks.process.environments import VERSIONS, default_cache, environment
from proctor.blocks.process.ports import require_free_port
from proctor.blocks.process.render import render
from proctor.blocks.secrets import resolve_env, runtime_names, runtime_value
from proctor.blocks.stage_files import ALIVE, GONE, Seen, after_server_death, job_state, read_folder
from proctor.blocks.stages import EXIT_CANNOT_START, GRACE_SECONDS, step_marker
from proctor.blocks.stray import Stray
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import ProcessExecution

INHERITED = (
    *("HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
"""What a step sees of our own environment, as little as a container would."""

FIRST_BREATH = 10
"""Seconds in which a wrapper that made its claim must have written its first stage file."""


class ProcessBackend(Backend):
    """Runs each step and server as a detached process in a cached virtual environment of its packages."""

    _block_type_name = "Proctor Process Backend"
    _block_type_slug = "proctor-process"

    execution: ProcessExecution = ProcessExecution()

    def render(self, job: JobSpec) -> str:
        """The scripts of this job."""
        return render(job, self.execution)

    def examine(self, jobs: Sequence[JobSpec]) -> Iterable[Finding]:
        """What `proctor doctor` says about these jobs here."""
        return examine(self.execution, jobs)

    def strays(self) -> Sequence[Stray]:
        """Everything of ours there."""
        return strays.find()

    def remove_strays(self, found: Collection[Stray]) -> None:
        """End these."""
        strays.remove(found)

    def submit(self, jobs: Sequence[JobSpec]) -> dict[str, JobHandle | BackendError]:
        """Start every process that was not started before."""
        return {job.name: self.submit_one(job) for job in jobs}

    def submit_one(self, job: JobSpec) -> JobHandle | BackendError:
        """Start one job, or say why it cannot be."""
        try:
            self.begin(job)
        except RejectedError as error:
            return error
        except ConfigError as error:
            return RejectedError(str(error))
        except OSError as error:
            return RejectedError(f"cannot start {job.name}: {error.filename or job.output_dir}: {error.strerror}")
        return JobHandle("process", job.name, job.evaluation, job.output_dir, tuple(step.name for step in job.steps))

    def begin(self, job: JobSpec) -> None:
        """Start what was not started before; a step whose environment cannot be built ends with the reason, alone.

        Raises RejectedError when that is the server or every step, and ConfigError for a variable that is not there.
        """
        new = unclaimed(job)
        prepare(job, self.execution.endpoint_readiness_timeout)
        places, refused = self.places(new)
        if SERVER in refused or len(refused) == len(job.steps):
            raise refused.get(SERVER) or next(iter(refused.values()))
        variables = {name: variables_of(new[name], name, place) for name, place in places.items()}
        for name, error in refused.items():
            refuse(step_files(job, name), str(error))
        for name, place in places.items():
            shutil.copy(place / VERSIONS, step_files(job, name).folder / VERSIONS)
            start(job, name, variables[name])

    def places(self, containers: Mapping[str, Container]) -> tuple[dict[str, Path], dict[str, RejectedError]]:
        """By name the environments of these containers, and why others cannot be had; each set of packages once."""
        cache = Path(self.execution.cache_dir).expanduser() if self.execution.cache_dir else default_cache()
        built: dict[tuple[str, ...], Path] = {}
        failed: dict[tuple[str, ...], RejectedError] = {}
        for packages in dict.fromkeys(container.packages for container in containers.values()):
            try:
                built[packages] = environment(packages, cache, self.execution.python)
            except RejectedError as error:
                failed[packages] = error
        places = {name: built[each.packages] for name, each in containers.items() if each.packages in built}
        return places, {name: failed[each.packages] for name, each in containers.items() if each.packages in failed}

    def poll(self, handles: Collection[JobHandle]) -> dict[JobHandle, JobStatus]:
        """Stage files and the wrappers' processes, read afresh."""
        return {handle: look(handle) for handle in handles}

    def logs(self, handle: JobHandle, step: str | None, *, follow: bool, tail: int) -> Iterator[str]:
        """The step's log file."""
        return log_lines(handle, step or SERVER, following=follow, tail=tail)

    def cancel(self, handles: Collection[JobHandle], step: str | None = None) -> dict[JobHandle, JobStatus]:
        """TERM to the wrappers, and KILL to what is left of them later."""
        claims: dict[str, Path] = {}
        for handle in handles:
            for name in [step] if step else [*handle.steps, SERVER]:
                files = step_files(handle, name)
                if forestall(files, name):
                    continue
                note_cancel(files)
                claims[step_marker(handle.name, name)] = files.claim
        if claims:
            processes.end(claims, GRACE_SECONDS + 3)
            for handle in handles:
                settle(handle, [step] if step else [*handle.steps, SERVER])
        return self.poll(handles)

    def fetch(self, handle: JobHandle, step: str, dest: Path) -> Path:
        """The step's folder, which is already on this machine."""
        folder = step_files(handle, step).folder
        if not folder.is_dir():
            raise ResultError(f"{step}: its output folder {folder} is gone")
        target = dest / step
        if target.resolve() != folder.resolve():
            shutil.copytree(folder, target, dirs_exist_ok=True)
        return target


def unclaimed(job: JobSpec) -> dict[str, Container]:
    """What of a job no process has taken up yet, the server first; the rest is adopted as it is."""
    containers = {SERVER: job.server.container} if job.server else {}
    containers |= {step.name: step.container for step in job.steps}
    return {name: each for name, each in containers.items() if not step_files(job, name).claim.exists()}


def refuse(files: StepFiles, words: str) -> None:
    """End a step that cannot be started, in these words."""
    files.claim.mkdir(parents=True, exist_ok=True)
    write_exit(files.folder, files.job, str(EXIT_CANNOT_START), " ".join(words.split()))


def variables_of(container: Container, where: str, place: Path) -> dict[str, str]:
    """The whole environment of a process, with its virtual environment first on PATH."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    inherited |= {name: runtime_value(name, source, where) for name, source in runtime_names(container).items()}
    path = f"{place / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return inherited | {"PATH": path, "VIRTUAL_ENV": str(place)} | resolve_env(container, where)


def prepare(job: JobSpec, ready_timeout: float) -> None:
    """Write the files of a job, all before its first process starts; no secret is among them."""
    write_order(job)
    for step in job.steps:
        write_step(step_files(job, step.name), step_script(job, step, ready_timeout), step.run_config)
    if job.server:
        write_step(step_files(job, SERVER), server_script(job), "")


def start(job: JobSpec, name: str, variables: Mapping[str, str]) -> None:
    """Start one wrapper in a session of its own; one that was started before is left alone."""
    files = step_files(job, name)
    if files.claim.exists():
        return
    if name == SERVER and job.server:
        require_free_port(job.server.port)
    marker = {
        "PROCTOR_EVALUATION": job.evaluation,
        "PROCTOR_JOB": job.name,
        "PROCTOR_STEP": step_marker(job.name, name),
    }
    with files.log.open("ab") as log:
        subprocess.Popen(  # nobody waits for it: it must outlive us
            ["sh", str(files.script)],
            env={**variables, **marker},
            cwd=files.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o022,
        )


def look(handle: JobHandle) -> JobStatus:
    """How one job is doing."""
    steps = {name: witness(handle, name) for name in handle.steps}
    server, died = look_at_server(handle, steps)
    if died:
        running = [name for name, status in steps.items() if not status.state.final]
        for name in running:
            files = step_files(handle, name)
            found = processes.marked([step_marker(handle.name, name)])[step_marker(handle.name, name)]
            first = processes.wrapper(files.claim, found)
            processes.signal_all([first] if first else found, kill=False)
        steps = {name: after_server_death(status, died) for name, status in steps.items()}
    return JobStatus(job_state(steps.values()), steps, server, observed=datetime.now(UTC))


def witness(handle: JobHandle, name: str) -> StepStatus:
    """How one step (or the server) is doing, from its stage files and its wrapper's process."""
    files = step_files(handle, name)
    if processes.alive(files.claim, step_marker(handle.name, name)):
        return look_at_step(handle, name, ALIVE)
    return look_at_step(handle, name, Seen("ended") if stillborn(files) else GONE)


def stillborn(files: StepFiles) -> bool:
    """Whether a wrapper was killed between its claim and its first stage file."""
    try:
        age = time.time() - files.claim.stat().st_mtime
    except OSError:
        return False
    return age > FIRST_BREATH and not read_folder(files.folder, files.job)


def look_at_server(handle: JobHandle, steps: Mapping[str, StepStatus]) -> tuple[ServerStatus | None, str]:
    """How the server is doing, and in what words it died (empty when it did not, or was ended by us)."""
    files = step_files(handle, SERVER)
    if not files.script.exists():
        return None, ""
    status = witness(handle, SERVER)
    if status.state.final and status.state is not JobState.CANCELLED:
        return ServerStatus(JobState.FAILED, status.message, "\n".join(last_lines(files.log, 20))), status.message
    answered = any((step_files(handle, name).folder / "server-models.json").exists() for name in steps)
    state = status.state if status.state.final else JobState.RUNNING if answered else JobState.PENDING
    words = status.message if state.final else "answers" if answered else "loading"
    return ServerStatus(state, words), ""


def log_lines(handle: JobHandle, name: str, *, following: bool, tail: int) -> Iterator[str]:
    """The end of a step's log, and its growth until the step ends."""
    files = step_files(handle, name)
    if not following:
        return iter(last_lines(files.log, tail))
    return follow(files.log, tail, lambda: witness(handle, name).state.final)
