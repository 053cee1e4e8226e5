"""The one stream that brings all jobs of a submission to the cluster."""

import io
import secrets
import shlex
import tarfile
import time
from collections.abc import Mapping, Sequence

from proctor.blocks.job import Container, JobSpec
from proctor.blocks.secrets import resolve_env, runtime_names
from proctor.blocks.slurm.files import job_files
from proctor.blocks.slurm.remote import submission
from proctor.configs.execution_schema import SlurmExecution


def upload(jobs: Sequence[JobSpec], execution: SlurmExecution, variables: Mapping[str, str]) -> tuple[str, bytes]:
    """The remote command and its standard input: an archive of all job folders and of the script that submits them.

    `variables` holds the text of each job's file of variables, which only the job's user can read.
    """
    nonce = secrets.token_hex(8)
    roots = [f"{job.output_dir}/.proctor/.up-{nonce}" for job in jobs]
    places = [f"{root}/{job.name}" for root, job in zip(roots, jobs, strict=True)]
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1, format=tarfile.PAX_FORMAT) as archive:
        for job, place in zip(jobs, places, strict=True):
            folder(archive, f"{place}/private", 0o700)
            put(archive, f"{place}/private/env", variables[job.name], 0o600)
            for name, text in job_files(job, execution).items():
                put(archive, f"{place}/{name}", text, 0o644)
        script = f"{roots[0]}-submit.sh"
        put(archive, script, submission(jobs, places), 0o600)
    clean = shlex.join(["rm", "-rf", script, *dict.fromkeys(roots)])
    command = f"umask 022; tar -xzpPf - && sh {shlex.quote(script)}; code=$?; {clean}; exit $code"
    return command, stream.getvalue()


def put(archive: tarfile.TarFile, name: str, text: str, mode: int) -> None:
    """A file; missing folders above it are made when it is unpacked."""
    data = text.encode()
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), mode, int(time.time())
    archive.addfile(info, io.BytesIO(data))


def folder(archive: tarfile.TarFile, name: str, mode: int) -> None:
    """An empty folder."""
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.mtime = tarfile.DIRTYPE, mode, int(time.time())
    archive.addfile(info)


def variables(job: JobSpec) -> str:
    """Shell functions that export the variables of each step and of the server, their values resolved now.

    Raises ConfigError for a variable that is not there.
    """
    parts = [exports(f"env_{index}", step.container, step.benchmark) for index, step in enumerate(job.steps)]
    if job.server:
        parts.append(exports("env_server", job.server.container, "deployment"))
    return "\n".join([*parts, ""])


def exports(name: str, container: Container, where: str) -> str:
    """One function."""
    lines = [f"  export {key}={shlex.quote(value)}" for key, value in resolve_env(container, where).items()]
    for key, source in runtime_names(container).items():
        told = shlex.quote(f"{where}: the variable that env_vars.{key} names ({source}) is not set where its job runs")
        lines.append(f'  [ -n "${{{source}+x}}" ] || {{ PROBLEM={told}; return 1; }}')
        lines.append(f'  export {key}="${source}"')
    return "\n".join([f"{name}() {{", *(lines or ["  :"]), "}"])
