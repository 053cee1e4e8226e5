"""From a job to the containers that the engine is asked for; pure."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from proctor.blocks.docker.docker_args import DockerArgs, parse
from proctor.blocks.job import Container, EnvVar, JobHandle, JobSpec, Mount, Step
from proctor.blocks.job_files import CONTAINER_JOB, CONTAINER_RESULTS, SERVER, step_files
from proctor.blocks.stages import server_command
from proctor.configs.execution_schema import LocalExecution

EVALUATION_LABEL, JOB_LABEL, STEP_LABEL = "proctor.evaluation", "proctor.job", "proctor.step"
IMAGE_LABEL = "proctor.image"
"""Label: the digest (or id) of the image that the container really runs."""
LOOPBACK = {"localhost", "127.0.0.1", "::1", "[::1]"}


ROOT = {None, "0:0", "0", "root", "root:root"}
HOME = (EnvVar("HOME", "lit", "/tmp"), EnvVar("USER", "lit", "proctor"))  # noqa: S108
"""For a user that the image does not know: a home it may write to, and a name for who asks for one."""
OF_THE_NETWORK = ("extra_hosts", "dns", "hostname", "sysctls")
"""What belongs to a network namespace: where steps share their server's, the engine takes it for the server only."""


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
        labels=labels(job, SERVER, args),
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
    for name in OF_THE_NETWORK if job.server else ():
        options.pop(name, None)
    owner = execution.user or options.pop("user", None) or user
    home = () if owner in ROOT else HOME
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
        env=(*home, *args.env, *step.container.env),
        mounts=(*places, *step.container.mounts, *args.mounts),
        labels=labels(job, step.name, args),
        network=f"container:{job.name}-{SERVER}" if job.server else network(step, execution, args),
        gpus=gpus(execution, args),
        ulimits=args.ulimits,
        options=options | ({"user": owner} if owner else {}),
    )


def numbers(user: str) -> tuple[int, int]:
    """Uid and gid of a user as Docker takes it; -1 for a group that is not named."""
    uid, _, gid = user.replace("root", "0").partition(":")
    return int(uid), int(gid or -1)


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
    return execution.gpus if execution.gpus is not None else args.gpus


def limits(execution: LocalExecution, args: DockerArgs) -> dict[str, Any]:
    """Limits of a container; the section's own keys come before its docker_args."""
    options = {name: value for name, value in args.options.items() if name not in {"network", "labels"}}
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


def labels(job: JobSpec, step: str, args: DockerArgs) -> dict[str, str]:
    """What finds the container again, and the user's own."""
    return {
        **args.options.get("labels", {}),
        **job.labels,
        EVALUATION_LABEL: job.evaluation,
        JOB_LABEL: job.name,
        STEP_LABEL: step,
    }
