"""Can this Docker engine run these jobs? Looks only; pulls and starts nothing."""

import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from proctor.blocks.docker.engine import connect, engine_errors, facts, registry_auth, shares_files, unreachable
from proctor.blocks.errors import BackendError
from proctor.blocks.finding import Finding, ok, problem, warning
from proctor.blocks.folders_check import check_folders, check_room, mount_sources
from proctor.blocks.job import JobSpec
from proctor.configs.execution_schema import LocalExecution

if TYPE_CHECKING:
    from docker import DockerClient

SOCKET = "/var/run/docker.sock"
"""Where Docker's engine listens unless it is told otherwise."""
TOOLKIT = (
    "install nvidia-container-toolkit, then: sudo nvidia-ctk runtime configure && sudo systemctl restart docker; "
    "or leave GPUs out"
)


def examine(execution: LocalExecution, jobs: Sequence[JobSpec]) -> Iterator[Finding]:
    """Engine, disk, GPUs, folders, images."""
    try:
        client = connect(execution.docker_host)
        with engine_errors():
            version = client.version()
    except BackendError as error:
        words, _, advice = str(error).partition(": ")
        yield problem(words, advice or "start Docker, or set DOCKER_HOST")
        return
    yield ok(f"the Docker engine {version.get('Version', '')} answers")
    yield from gpus(client, execution, jobs)
    if shares_files(client, execution):
        root = Path(str(client.info().get("DockerRootDir", "")))
        if root.is_dir():
            yield check_room(root, "images")
        yield from check_folders(execution.output_dir, mount_sources(jobs))
    for image in images(jobs):
        yield check_image(client, image, execution)


def check_socket(execution: LocalExecution, environment: Mapping[str, str], path: str = SOCKET) -> Iterator[Finding]:
    """What is wrong when nobody listens at the usual socket and no other engine is named; takes no time.

    `environment` is that of the process which will ask the engine.
    """
    folder = Path(environment.get("DOCKER_CONFIG") or Path.home() / ".docker")
    named = (execution.docker_host, environment.get("DOCKER_HOST"), environment.get("DOCKER_CONTEXT"))
    if any(named) or (folder / "contexts").is_dir():
        return
    try:
        with socket.socket(socket.AF_UNIX) as usual:
            usual.connect(path)
    except OSError as error:
        words, _, advice = unreachable(str(error), f"unix://{path}").partition(": ")
        yield problem(words, advice)


def gpus(client: "DockerClient", execution: LocalExecution, jobs: Sequence[JobSpec]) -> Iterator[Finding]:
    """GPUs that were asked for need the toolkit; a server without any may be meant."""
    asked = execution.gpus not in {None, "none", "0"} or any("--gpus" in each for each in execution.docker_args)
    asked = asked or "--gpus" in execution.extra_docker_args
    if facts(client).nvidia:
        yield ok("containers may use the GPUs of this engine")
    elif asked:
        yield problem("GPUs are asked for, but the engine has no NVIDIA runtime", TOOLKIT)
    elif any(job.server and job.server.kind != "generic" for job in jobs):
        yield warning("the model server will run without a GPU: the engine has no NVIDIA runtime", TOOLKIT)


def images(jobs: Sequence[JobSpec]) -> list[str]:
    """Every image, once."""
    containers = [step.container for job in jobs for step in job.steps]
    containers += [job.server.container for job in jobs if job.server]
    return list(dict.fromkeys(each.image for each in containers if each.image))


def check_image(client: "DockerClient", image: str, execution: LocalExecution) -> Finding:
    """Whether an image is here, or its registry would give it to us."""
    from docker.errors import DockerException, ImageNotFound  # noqa: PLC0415

    try:
        client.api.inspect_image(image)
        return ok(f"image {image} is here")
    except ImageNotFound:
        if execution.pull == "never":
            return problem(f"image {image} is not here, and execution.pull is never", f"docker pull {image}")
    try:
        auth = registry_auth(execution.registry_auth) if execution.registry_auth else None
        client.api.inspect_distribution(image, auth_config=auth)
        return ok(f"image {image} can be pulled")
    except BackendError as error:
        return problem(f"image {image}: {error}", "create the Secret block, or correct its name")
    except DockerException as error:
        words = str(getattr(error, "explanation", None) or error)[:200]
        advice = (
            "check its name and digest, `docker login` to its registry (or execution.registry_auth), and the network"
        )
        return problem(f"image {image} is not here and cannot be pulled: {words}", advice)
