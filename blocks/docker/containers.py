"""Creating, starting, listing and ending containers; every call that acts on the engine."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from proctor.blocks.docker.engine import facts
from proctor.blocks.docker.parse import by_step
from proctor.blocks.docker.request import IMAGE_LABEL, JOB_LABEL, STEP_LABEL, ContainerRequest
from proctor.blocks.errors import RejectedError, TransientError
from proctor.blocks.job import Mount as MountRequest
from proctor.blocks.job_files import SERVER

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.types import DeviceRequest

WORKERS = 8
STOPPERS = 64
"""Containers that are stopped at the same time; each may use its whole grace."""
ADOPT_SECONDS = 10.0
"""How long a container may be under creation by somebody else."""
SERVER_GRACE = 3
"""Seconds between TERM and KILL for a server."""
NO_GPUS = {"none", "0"}
Listing = dict[str, dict[str, Mapping[str, Any]]]
"""Containers by job name and step, as the engine lists them."""


def listing(client: "DockerClient", jobs: Collection[str]) -> Listing:
    """The containers of these jobs, in one call for any number of jobs."""
    wanted = f"{JOB_LABEL}={next(iter(jobs))}" if len(jobs) == 1 else JOB_LABEL
    found: dict[str, list[Mapping[str, Any]]] = {job: [] for job in jobs}
    for entry in client.api.containers(all=True, filters={"label": [wanted]}):
        found.get(entry["Labels"][JOB_LABEL], []).append(entry)
    return {job: by_step(entries) for job, entries in found.items()}


def create(client: "DockerClient", request: ContainerRequest, digest: str, variables: Mapping[str, str]) -> str:
    """Create one container, or adopt the one that has its name; the answer is its id. Raises RejectedError."""
    from docker.errors import APIError, DockerException  # noqa: PLC0415 (only where containers run)
    from requests.exceptions import RequestException  # noqa: PLC0415

    try:
        return str(client.containers.create(request.image, **arguments(client, request, digest, variables)).id)
    except APIError as error:
        if error.response is not None and error.response.status_code == 409:
            return adopt(client, request.name)
        raise
    except RequestException:
        raise
    except (DockerException, ValueError, TypeError) as error:  # the SDK did not even ask
        raise RejectedError(f"{request.step}: a setting of its container is not understood: {error}") from None


def arguments(
    client: "DockerClient", request: ContainerRequest, digest: str, variables: Mapping[str, str]
) -> dict[str, Any]:
    """A request in the SDK's words."""
    from docker.types import Mount, Ulimit  # noqa: PLC0415

    found: dict[str, Any] = {
        **request.options,
        "name": request.name,
        "command": list(request.command) if request.command else None,
        "entrypoint": list(request.entrypoint) if request.entrypoint else None,
        "environment": dict(variables),
        "mounts": [
            Mount(each.target, each.source, type=mount_type(each), read_only=each.read_only) for each in request.mounts
        ],
        "labels": {**request.labels, IMAGE_LABEL: digest},
        "device_requests": device_requests(client, request),
        "ulimits": [Ulimit(name=name, soft=soft, hard=hard) for name, soft, hard in request.ulimits],
        "detach": True,
    }
    joins = request.network.startswith("container:") or request.network == "host"
    found["network_mode" if joins else "network"] = request.network
    return found


def adopt(client: "DockerClient", name: str) -> str:
    """The id of a container that somebody else creates now: the engine gives its name away before it can be found.

    Raises TransientError when it stays away, which a creation that failed there leaves behind.
    """
    from docker.errors import NotFound  # noqa: PLC0415

    deadline = time.monotonic() + ADOPT_SECONDS
    while True:
        with suppress(NotFound):
            return str(client.containers.get(name).id)
        if time.monotonic() > deadline:
            raise TransientError(f"the Docker engine says that {name} is there, and does not find it")
        time.sleep(0.05)


def mount_type(mount: MountRequest) -> Literal["bind", "volume"]:
    """A folder is bound; a name without a slash is a volume, which the engine makes when it is missing."""
    return "bind" if mount.source.startswith("/") else "volume"


def device_requests(client: "DockerClient", request: ContainerRequest) -> "list[DeviceRequest] | None":
    """GPUs in the SDK's words: all, none, a number, or `device=0,1`; `available` means all where the engine has any."""
    from docker.types import DeviceRequest  # noqa: PLC0415

    wanted = request.gpus
    if wanted is None or wanted in NO_GPUS or (wanted == "available" and not facts(client).nvidia):
        return None
    if wanted.startswith(("device=", '"device=')):
        ids = wanted.strip('"').removeprefix("device=").split(",")
        return [DeviceRequest(driver="nvidia", device_ids=ids, capabilities=[["gpu"]])]
    count = int(wanted) if wanted.isdigit() else -1
    return [DeviceRequest(count=count, capabilities=[["gpu"]])]


def start(client: "DockerClient", container: str, network: str) -> None:
    """Start a container; one that runs or has ended already is left alone by the engine.

    A step whose server died before it could join its network stays as created: its server's end is told instead.
    """
    from docker.errors import APIError  # noqa: PLC0415

    try:
        client.api.start(container)
    except APIError:
        server = network.removeprefix("container:")
        if server == network or client.api.inspect_container(server)["State"]["Running"]:
            raise


def stop_all(client: "DockerClient", entries: Collection[Mapping[str, Any]], grace: int) -> None:
    """Stop containers all at once (TERM, after `grace` seconds KILL); those that do not run or are gone are fine.

    Servers have nothing to bring to an end, and many ignore TERM when they are a container's first process.
    """
    from docker.errors import APIError  # noqa: PLC0415

    def one(entry: Mapping[str, Any]) -> None:
        with suppressed(APIError, "no such container"):
            if entry.get("State") in {"running", "paused", "restarting"}:
                client.api.stop(entry["Id"], timeout=SERVER_GRACE if is_server(entry) else grace)

    with ThreadPoolExecutor(max(1, min(len(entries), STOPPERS))) as pool:
        list(pool.map(one, entries))


def remove_all(client: "DockerClient", entries: Collection[Mapping[str, Any]]) -> None:
    """Remove containers and their anonymous volumes; those that are gone are fine.

    Servers go last: Podman keeps a container whose network others share.
    """
    from docker.errors import APIError  # noqa: PLC0415

    def one(entry: Mapping[str, Any]) -> None:
        with suppressed(APIError, "no such container", "already in progress"):
            client.api.remove_container(entry["Id"], force=True, v=True)

    servers = [entry for entry in entries if is_server(entry)]
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(one, [entry for entry in entries if entry not in servers]))
        list(pool.map(one, servers))


def is_server(entry: Mapping[str, Any]) -> bool:
    """Whether a container is the server of its job."""
    return bool(entry["Labels"].get(STEP_LABEL) == SERVER)


def inspect(client: "DockerClient", entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Everything the engine knows about a container; None when it was removed meanwhile."""
    from docker.errors import NotFound  # noqa: PLC0415

    try:
        return cast(Mapping[str, Any], client.api.inspect_container(entry["Id"]))
    except NotFound:
        return None


def log(client: "DockerClient", entry: Mapping[str, Any], tail: int) -> bytes | None:
    """The last lines that a container printed; None when it was removed meanwhile."""
    from docker.errors import NotFound  # noqa: PLC0415

    try:
        return client.api.logs(entry["Id"], tail=tail)
    except NotFound:
        return None


def hand_over(client: "DockerClient", image: str, folder: Path, owner: str) -> None:
    """Give a folder to `owner`, by a short container that may. Where the image has no chown the folder stays as it is."""
    from docker.errors import APIError, ContainerError  # noqa: PLC0415
    from docker.types import Mount  # noqa: PLC0415

    mounts = [Mount("/results", str(folder), type="bind")]
    command = ["chown", "-hR", owner, "/results"]
    with suppress(APIError, ContainerError):
        client.containers.run(
            image, entrypoint=command, command=[], user="0:0", network_mode="none", mounts=mounts, remove=True
        )


@contextmanager
def suppressed(kind: type[Exception], *words: str) -> Iterator[None]:
    """Let errors pass that say one of these things, in small letters; engines differ in theirs."""
    try:
        yield
    except kind as error:
        if not any(each in str(error).lower() for each in words):
            raise


def create_all(
    client: "DockerClient",
    requests: Collection[ContainerRequest],
    digests: Mapping[str, str],
    variables: Mapping[str, Mapping[str, str]],
    provide: Callable[[str, str], None] | None,
) -> None:
    """Bring every container of a job up: the server first, whose network the others join, then the steps at once.

    `provide(container, step)` is called before the container of a step starts, to give it its files.
    """

    def one(request: ContainerRequest) -> None:
        container = create(client, request, digests[request.image], variables[request.step])
        if provide and request.step != SERVER:
            provide(container, request.step)
        start(client, container, request.network)

    ordered = sorted(requests, key=lambda request: request.network.startswith("container:"))
    first = [request for request in ordered if any(each.network == f"container:{request.name}" for each in ordered)]
    for request in first:
        one(request)
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(one, [request for request in ordered if request not in first]))


def require_image(request: ContainerRequest) -> str:
    """The image of a request. Raises RejectedError when its step names none."""
    if not request.image:
        raise RejectedError(f"{request.step}: it has no container image")
    return request.image
