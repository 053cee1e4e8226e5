"""A job as the `docker run` command lines that a person would type; pure."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from proctor.blocks.docker.docker_args import LISTS, NUMBERS, PAIRS, SWITCHES, TEXT
from proctor.blocks.docker.request import ContainerRequest, server_request, step_request
from proctor.blocks.job import JobSpec
from proctor.blocks.job_files import contained_script
from proctor.configs.execution_schema import LocalExecution

CALLER = "$(id -u):$(id -g)"
"""Whose the results are to be, as a shell would find out."""

FLAGS = {name: flag for flag, name in {**TEXT, **NUMBERS, **LISTS, **SWITCHES}.items()}
FLAGS |= {name: flag for flag, (name, _) in PAIRS.items()}


def render(job: JobSpec, execution: LocalExecution) -> str:
    """The containers as `docker run` command lines, with what the steps read; variables by name only."""
    server = server_request(job, execution)
    parts = [f"# job {job.name}: {len(job.steps)} steps, {job.max_parallel} at a time"]
    if server:
        parts += ["## server", command_line(server)]
    for step in job.steps:
        request = step_request(job, step, execution, CALLER)
        parts += [f"## {step.name}", command_line(request), "# run config", step.run_config]
        parts += ["# wrapper", contained_script(job, step, execution.endpoint_readiness_timeout)]
    return "\n".join(parts)


def command_line(request: ContainerRequest) -> str:
    """A request as one would type it; variables that are no plain text by name only."""
    words = ["docker", "run", "--detach", "--name", request.name, "--network", request.network]
    words += [f"--label={label}={value}" for label, value in request.labels.items()]
    for variable in request.env:
        words += ["--env", f"{variable.name}={variable.value}" if variable.source == "lit" else variable.name]
    for mount in request.mounts:
        words += ["--volume", f"{mount.source}:{mount.target}" + (":ro" if mount.read_only else "")]
    words += [f"--ulimit={name}={soft}:{hard}" for name, soft, hard in request.ulimits]
    words += option_flags(request.options)
    words += [f"--gpus={request.gpus}"] if request.gpus and request.gpus not in {"available", "none"} else []
    words += [f"--entrypoint={request.entrypoint[0]}"] if request.entrypoint else []
    words += [request.image, *(request.entrypoint or ())[1:], *(request.command or ())]
    return shlex.join(words).replace(shlex.quote(f"--user={CALLER}"), f'--user="{CALLER}"')


def option_flags(options: Mapping[str, Any]) -> Iterator[str]:
    """The SDK's arguments as flags again."""
    for name, value in options.items():
        if name == "nano_cpus":
            yield f"--cpus={value / 1e9:g}"
        elif name in SWITCHES.values():
            yield FLAGS[name]
        elif isinstance(value, list):
            yield from (f"{FLAGS[name]}={each}" for each in value)
        elif isinstance(value, dict):
            mark = next(mark for known, mark in PAIRS.values() if known == name)
            yield from (f"{FLAGS[name]}={key}{mark if each else ''}{each}" for key, each in value.items())
        else:
            yield f"{FLAGS[name]}={value}"
