"""The Docker engine: the client, images, and its errors in our words."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from proctor.blocks.docker.parse import image_digest
from proctor.blocks.errors import BackendError, RejectedError, TransientError
from proctor.configs.execution_schema import LocalExecution

if TYPE_CHECKING:
    from docker import DockerClient

TIMEOUT = 60
"""Seconds for one answer of the engine; pulls and log streams have their own pace."""
HICCUP = 180.0
"""Seconds within which what went wrong behind the engine passes, or will not pass by itself."""
LOGIN = "give execution.registry_auth, the name of a Prefect Secret block with username and password"


_importing = Lock()


def import_sdk() -> None:
    """Import the SDK whole. Threads that begin with different parts of it at the same time may each see half of it."""
    with _importing:
        import docker.context  # noqa: PLC0415 (only where containers run)
        import docker.errors  # noqa: PLC0415
        import docker.types  # noqa: PLC0415, F401


@cache
def connect(docker_host: str | None) -> "DockerClient":
    """A client of the engine, kept for this process. Raises TransientError in words that say what to do."""
    import_sdk()
    import docker  # noqa: PLC0415
    from docker.errors import DockerException  # noqa: PLC0415

    address = docker_host or os.environ.get("DOCKER_HOST") or current_context()
    environment = {**os.environ, **({"DOCKER_HOST": address} if address else {})}
    try:
        return docker.from_env(environment=environment, timeout=TIMEOUT, max_pool_size=16, use_ssh_client=True)
    except DockerException as error:
        raise TransientError(unreachable(str(error), address)) from None


def current_context() -> str | None:
    """The engine that `docker context use` chose, as the command line would take it; None for the usual socket."""
    from docker.context import ContextAPI  # noqa: PLC0415 (only where containers run)
    from docker.errors import DockerException  # noqa: PLC0415

    try:
        context = ContextAPI.get_current_context()
    except (DockerException, OSError, ValueError):
        return None
    return str(context.Host) if context and context.Host else None


def unreachable(text: str, address: str | None) -> str:
    """Why the engine cannot be asked, and what to do about it."""
    where = address or "this machine"
    if "Permission denied" in text or "PermissionError" in text:
        return (
            "the Docker engine refuses this user: run `sudo usermod -aG docker $USER`, then log in again "
            "(or `newgrp docker`)"
        )
    if "No such file" in text or "FileNotFoundError" in text or "refused" in text:
        return f"no Docker engine answers on {where}: start it (`sudo systemctl start docker`), or set DOCKER_HOST"
    return f"the Docker engine on {where} cannot be reached: {text}"


@contextmanager
def engine_errors() -> Iterator[None]:
    """Turn the SDK's errors into ours: what the engine refused, and what it could not answer."""
    import_sdk()
    from docker.errors import APIError, DockerException  # noqa: PLC0415
    from requests.exceptions import RequestException  # noqa: PLC0415

    try:
        yield
    except APIError as error:
        raise told(
            error.explanation or str(error), error.response.status_code if error.response is not None else 500
        ) from None
    except RequestException as error:
        raise TransientError(unreachable(str(error), None)) from None
    except DockerException as error:
        raise TransientError(unreachable(str(error), None)) from None


HINTS = {
    "could not select device driver": "install nvidia-container-toolkit and restart Docker, or leave GPUs out",
    "manifest unknown": "check the image's name and digest",
    "pull access denied": "check the image's name, or give execution.registry_auth",
    "unauthorized": LOGIN,
    "no basic auth credentials": LOGIN,
    "No such image": "pull it first, or set execution.pull to missing",
    "no space left on device": "make room on the engine's disk (`docker system prune`)",
    "http response to https client": "the registry speaks no TLS; add it to the engine's insecure-registries",
    "x509": "let the engine trust the registry's certificate",
    "no matching manifest": "the image has no variant for this machine's platform",
    "OCI runtime": "check the image and execution.docker_args",
    "failed to create task": "check the image and execution.docker_args",
    "gathering device information": "check --device in execution.docker_args",
    "invalid reference format": "check the image's name",
}
"""What to do about answers of the engine that stay the same however often it is asked."""


def told(explanation: Any, status: int) -> BackendError:
    """An answer of the engine that is no success.

    The engine says 500 for everything that went wrong behind it, a registry or a name server out of reach among it, so
    that is tried again for some minutes, unless its words are known to be final.
    """
    text = str(explanation).strip()
    hint = next((f"; {advice}" for words, advice in HINTS.items() if words.lower() in text.lower()), "")
    if status in {409, 423, 502, 503, 504}:
        return TransientError(f"the Docker engine is busy: {text}")
    if status >= 500 and not hint:
        return TransientError(f"the Docker engine failed: {text}", within=HICCUP)
    return RejectedError(f"the Docker engine refused: {text}{hint}")


def shares_files(client: "DockerClient", execution: LocalExecution) -> bool:
    """Whether the engine sees the folders of this machine: its socket is here, or it has this machine's name."""
    if execution.shares_files is not None:
        return execution.shares_files
    base = str(client.api.base_url)
    if base.startswith("http+docker://"):
        return base != "http+docker://ssh"
    return facts(client).name == socket.gethostname()


@dataclass(frozen=True, slots=True)
class Facts:
    """What an engine says about itself."""

    name: str
    rootless: bool
    nvidia: bool


@cache
def facts(client: "DockerClient") -> Facts:
    """What the engine says about itself, asked once in a process."""
    with engine_errors():
        info = client.info()
    rootless = any("rootless" in str(each) for each in info.get("SecurityOptions") or ())
    return Facts(str(info.get("Name")), rootless, "nvidia" in (info.get("Runtimes") or {}))


def ensure_image(client: "DockerClient", image: str, execution: LocalExecution) -> str:
    """Make sure that an image is there, as `execution.pull` says; the answer is its digest. Raises RejectedError."""
    from docker.errors import ImageNotFound  # noqa: PLC0415

    with engine_errors():
        if execution.pull == "always":
            pull(client, image, execution)
        try:
            return image_digest(client.api.inspect_image(image), image)
        except ImageNotFound:
            if execution.pull == "never":
                raise RejectedError(f"image {image} is not here, and execution.pull is never") from None
        pull(client, image, execution)
        return image_digest(client.api.inspect_image(image), image)


def pull(client: "DockerClient", image: str, execution: LocalExecution) -> None:
    """Pull one image, with the credentials of the named Secret block."""
    auth = registry_auth(execution.registry_auth) if execution.registry_auth else None
    repository, tag = (image, None) if "@" in image else split_tag(image)
    for line in client.api.pull(repository, tag=tag, stream=True, decode=True, auth_config=auth):
        if "error" in line:
            raise told(line["error"], 500)


def split_tag(image: str) -> tuple[str, str]:
    """Repository and tag; `latest` when there is none."""
    repository, colon, tag = image.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (image, "latest")


def registry_auth(block: str) -> dict[str, str]:
    """User name and password from a Prefect Secret block that holds them as JSON.

    Raises RejectedError, and TransientError while Prefect's server is away.
    """
    import httpx  # noqa: PLC0415 (comes with prefect)
    from prefect.blocks.system import Secret  # noqa: PLC0415

    try:
        value: Any = Secret.load(block, _sync=True).get()  # type: ignore[call-arg,union-attr]
        content = json.loads(value) if isinstance(value, str) else value
        return {"username": content["username"], "password": content["password"]}
    except (ValueError, KeyError, TypeError):
        message = f"execution.registry_auth: there is no Prefect Secret block {block!r} with username and password"
        raise RejectedError(message) from None
    except httpx.TransportError as error:
        away = (
            f"Prefect's server does not answer, so the Secret block {block!r} of execution.registry_auth cannot be read"
        )
        raise TransientError(away) from error
