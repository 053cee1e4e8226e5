"""From a job to the containers that the engine is asked for; pure."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from proctor.blocks.docker.docker_args import DockerArgs, parse
from proctor.blocks.job import Container, EnvVar, JobHandle, JobSpec, Mount, Step
from proctor.blocks.job_files import CONTAINER_JOB, CONTAINER_RESULTS, SERVER, contained_script, step_files
from proctor.blocks.stages import server_command
from proctor.configs.execution_schema import LocalExecution

EVALUATION_LABEL, JOB_LABEL, STEP_LABEL = "proctor.evaluation", "proctor.job", "proctor.step"
IMAGE_LABEL = "proctor.image"
"""Label: the digest (or id) of the image that the container really runs."""
LOOPBACK = {"localhost", "127.0.0.1", "::1", "[::1]"}


@dataclass(frozen=True, slots=True)
class ContainerRequest:
    """One container as we ask for it; environment variables by where their values come from."""

    name: str
    step: str
    image: str
    entrypoint: tuple[str, ...] | None
    command: tuple[str, ...] | None
    env: tuple[EnvVar, ...]
    mounts: tuple[Mount, ...]
    labels: Mapping[str, str]
    network: str
    gpus: str | None = None
    ulimits: tuple[tuple[str, int, int], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the SDK's `create`."""


def server_request(job: JobSpec, execution: LocalExecution) -> ContainerRequest | None:
    """The container of the job's server."""
    if job.server is None:
        return None
    args = docker_args(execution)
    return ContainerRequest(
        name=f"{job.name}-{SERVER}",
        step=SERVER,
        image=image_of(job.server.container),
        entrypoint=("sh", "-c") if job.server.command else None,
        command=(server_command(job.server),) if job.server.command else None,
        env=(*args.env, *job.server.container.env),
        mounts=(*job.server.container.mounts, *args.mounts),
        labels=labels(job, SERVER),
        network=execution.network or str(args.options.get("network") or "bridge"),
        gpus=gpus(execution, args) or "available",
        ulimits=args.ulimits,
        options=limits(execution, args),
    )


def step_request(
    job: JobSpec, step: Step, execution: LocalExecution, user: str | None, *, shared: bool = True
) -> ContainerRequest:
    """The container of one step; `user` is whose the results are to be; without `shared` files it gets volumes."""
    args = docker_args(execution)
    files = step_files(job, step.name)
    options = limits(execution, args)
    owner = execution.user or options.pop("user", None) or user
    names = {variable.name for variable in step.container.env}
    home = () if "HOME" in names or owner in {None, "0:0", "0", "root"} else (EnvVar("HOME", "lit", "/tmp"),)  # noqa: S108
    if shared:
        places = (Mount(str(files.folder), CONTAINER_RESULTS), Mount(job.output_dir, CONTAINER_JOB, read_only=True))
    else:
        owner, home = execution.user or "0:0", ()
        places = (Mount(volume(job, step.name), CONTAINER_RESULTS), Mount(volume(job, "job"), CONTAINER_JOB))
    return ContainerRequest(
        name=f"{job.name}-{step.name}",
        step=step.name,
        image=image_of(step.container),
        entrypoint=("sh", f"{CONTAINER_RESULTS}/.proctor/{files.script.name}"),
        command=None,
        env=(*args.env, *home, *step.container.env),
        mounts=(*places, *step.container.mounts, *args.mounts),
        labels=labels(job, step.name),
        network=f"container:{job.name}-{SERVER}" if job.server else network(step, execution, args),
        gpus=gpus(execution, args),
        ulimits=args.ulimits,
        options=options | ({"user": owner} if owner else {}),
    )


def volume(job: JobSpec | JobHandle, name: str) -> str:
    """The volume of a step, or of the whole job, on an engine that does not see our folders."""
    return f"proctor-{job.evaluation}-{name}"


def image_of(container: Container) -> str:
    """The image, which the plan made sure is there."""
    return container.image or ""


def docker_args(execution: LocalExecution) -> DockerArgs:
    """All flags of the section, from the list and from NeMo Evaluator's string."""
    return parse([*execution.docker_args, *shlex.split(execution.extra_docker_args)])


def gpus(execution: LocalExecution, args: DockerArgs) -> str | None:
    """The GPUs that were asked for."""
    return str(execution.gpus) if execution.gpus is not None else args.gpus


def limits(execution: LocalExecution, args: DockerArgs) -> dict[str, Any]:
    """Limits of a container; the section's own keys come before its docker_args."""
    options = {name: value for name, value in args.options.items() if name != "network"}
    if execution.memory_limit:
        options["mem_limit"] = execution.memory_limit
    if execution.cpus:
        options["nano_cpus"] = int(execution.cpus * 1e9)
    if execution.shm_size:
        options["shm_size"] = execution.shm_size
    return options


def network(step: Step, execution: LocalExecution, args: DockerArgs) -> str:
    """The network of a step without a server: this machine's own where the endpoint is on it, else Docker's bridge."""
    chosen = execution.network or args.options.get("network")
    return str(chosen) if chosen else "host" if urlsplit(step.endpoint_url).hostname in LOOPBACK else "bridge"


def labels(job: JobSpec, step: str) -> dict[str, str]:
    """What finds the container again."""
    return {**job.labels, EVALUATION_LABEL: job.evaluation, JOB_LABEL: job.name, STEP_LABEL: step}


def render(job: JobSpec, execution: LocalExecution) -> str:
    """The containers as `docker run` command lines, with what the steps read; variables by name only."""
    server = server_request(job, execution)
    parts = [f"# job {job.name}: {len(job.steps)} steps, {job.max_parallel} at a time"]
    if server:
        parts += ["## server", command_line(server)]
    for step in job.steps:
        request = step_request(job, step, execution, "$(id -u):$(id -g)")
        parts += [f"## {step.name}", command_line(request), "# run config", step.run_config]
        parts.append(contained_script(job, step, execution.endpoint_readiness_timeout))
    return "\n".join(parts)


def command_line(request: ContainerRequest) -> str:
    """A request as one would type it."""
    words = ["docker", "run", "--detach", "--name", request.name, "--network", request.network]
    for label, value in request.labels.items():
        words += ["--label", f"{label}={value}"]
    for variable in request.env:
        words += ["--env", f"{variable.name}={variable.value}" if variable.source == "lit" else variable.name]
    for mount in request.mounts:
        words += ["--volume", f"{mount.source}:{mount.target}" + (":ro" if mount.read_only else "")]
    for name, value in request.options.items():
        words.append(f"--{name.replace('_', '-')}={value}")
    words += ["--gpus", request.gpus] if request.gpus and request.gpus != "available" else []
    words += ["--entrypoint", request.entrypoint[0]] if request.entrypoint else []
    return shlex.join([*words, request.image, *(request.entrypoint or ())[1:], *(request.command or ())])
