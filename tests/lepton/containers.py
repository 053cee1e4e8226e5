"""A workload that really runs: its container on the Docker engine of this machine, in the host's network."""

import http.client
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, ImageNotFound, NotFound

from tests.lepton.workload import Workload

LABEL = "proctor-test.lepton"
GRACE = 5
"""Seconds between TERM and KILL."""


@dataclass
class Engine:
    """The containers of one stand-in."""

    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    drivers: list["ContainerDriver"] = field(default_factory=list)

    @cached_property
    def client(self) -> docker.DockerClient:
        """The engine; connected to when the first container is to run."""
        return docker.from_env(timeout=120)

    def clear(self) -> None:
        """End every driver, and remove every container."""
        for driver in self.drivers:
            driver.halted.set()
        deadline = time.monotonic() + 60
        while any(driver.busy() for driver in self.drivers) and time.monotonic() < deadline:
            self.remove_all()
            time.sleep(0.05)
        if self.drivers:
            self.remove_all()
            self.client.close()

    def remove_all(self) -> None:
        """Remove what there is now."""
        mine = self.client.containers.list(all=True, ignore_removed=True, filters={"label": f"{LABEL}={self.mark}"})
        for container in mine:
            with suppress(APIError):
                container.remove(force=True, v=True)


class ContainerDriver:
    """Runs a workload's container in a thread and tells its state."""

    def __init__(self, engine: Engine, workload: Workload, secrets: dict[str, str], volumes: dict[str, Path]) -> None:
        self.engine = engine
        self.workload = workload
        self.before = workload.driver
        """What it follows; a port and a folder are free when that has ended."""
        self.options = options(engine, workload, secrets, volumes)
        self.states = ["Queueing" if workload.kind == "job" else "Starting"]
        self.done: float | None = None
        self.halted = threading.Event()
        self.container: Any = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        engine.drivers.append(self)

    def start(self) -> None:
        """Begin."""
        self.thread.start()

    def state(self) -> str:
        return self.states[-1]

    def visited(self) -> list[str]:
        return list(self.states)

    def ended(self) -> float | None:
        return self.done

    def halt(self) -> None:
        """TERM, and KILL after a while; the thread sees to it."""
        if not self.halted.is_set():
            self.halted.set()
            threading.Thread(target=self.end, daemon=True).start()

    def busy(self) -> bool:
        return self.thread.is_alive()

    def end(self) -> None:
        """End the container, if there is one."""
        if self.container is not None:
            with suppress(APIError):
                self.container.stop(timeout=GRACE)

    def run(self) -> None:
        """The container's life."""
        while self.before.busy():
            time.sleep(0.05)
        if self.workload.kind == "job":
            self.states.append("Starting")
        try:
            self.container = self.engine.client.containers.create(**self.options)
        except ImageNotFound:
            return self.event("Warning", "ImagePullBackOff")
        if not self.halted.is_set():
            self.follow()
        with suppress(APIError):
            self.container.remove(force=True, v=True)

    def follow(self) -> None:
        """From its start to its exit."""
        try:
            self.container.start()
        except APIError as error:
            self.workload.log.write(f"{error.explanation}\n".encode(), self.workload.replica())
            return self.finish(128)
        if self.halted.is_set():
            self.end()
        printed = [threading.Thread(target=self.print, args=(each,), daemon=True) for each in ("stdout", "stderr")]
        for each in printed:
            each.start()
        if self.workload.kind == "job":
            self.states.append("Running")
        else:
            threading.Thread(target=self.watch, daemon=True).start()
        try:
            code = int(self.container.wait(timeout=None)["StatusCode"])
        except NotFound:
            code = 137
        for each in printed:
            each.join(10)
        self.workload.log.close(self.workload.replica())
        self.finish(code)

    def print(self, stream: str) -> None:
        """Its output into the log; each stream by itself, so that lines stay whole."""
        replica, size = self.workload.replica(), 0
        wanted = {"stdout": stream == "stdout", "stderr": stream == "stderr"}
        with suppress(APIError):
            for piece in self.container.logs(stream=True, follow=True, **wanted):
                self.workload.log.write(piece, replica, stream)
                size += len(piece)
            # who follows the log of a short container may miss its end
            self.workload.log.write(self.container.logs(**wanted)[size:], replica, stream)

    def watch(self) -> None:
        """Ready as soon as the server says that it is healthy, and never before."""
        while not self.halted.is_set() and self.done is None:
            ready = healthy(self.workload.blueprint.port)
            wanted = "Ready" if ready else ("Starting" if "Ready" not in self.states else "NotReady")
            if self.states[-1] != wanted and self.done is None:
                self.states.append(wanted)
            self.halted.wait(0.2 if not ready else 1.0)

    def finish(self, code: int) -> None:
        """It exited."""
        self.done = time.time()
        job = self.workload.kind == "job"
        if not self.halted.is_set():
            self.states.append(("Completed" if code == 0 else "Failed") if job else "Error")
        reason = "Completed" if code == 0 else "OOMKilled" if code == 137 else "Error"
        at = int(self.done)
        note = {"started_at": at, "finished_at": at, "exit_code": code, "reason": reason, "message": ""}
        self.workload.terminations.append(note)

    def event(self, kind: str, reason: str) -> None:
        """Something that its state does not tell."""
        self.workload.events.append((time.time(), kind, reason))


def options(engine: Engine, workload: Workload, secrets: dict[str, str], volumes: dict[str, Path]) -> dict[str, Any]:
    """What the engine is told."""
    plan = workload.blueprint
    found: dict[str, Any] = {
        "image": plan.image,
        "environment": environment(workload, secrets),
        "volumes": {str(source(mount, volumes)): bind(mount) for mount in plan.mounts},
        "network_mode": "host",
        "labels": {LABEL: engine.mark},
        "name": f"lepton-{workload.id}-{uuid.uuid4().hex[:6]}",
    }
    if plan.command:
        found |= {"entrypoint": list(plan.command[:1]), "command": list(plan.command[1:])}
    if plan.shared_memory:
        found["shm_size"] = plan.shared_memory << 20
    return found


def environment(workload: Workload, secrets: dict[str, str]) -> dict[str, str]:
    """Its variables, with the values of secrets, and those that the service adds."""
    found = {}
    for env in workload.blueprint.envs:
        reference = (env.get("value_from") or {}).get("secret_name_ref")
        found[env["name"]] = secrets[reference] if reference else env.get("value") or ""
    if workload.kind == "job":
        found |= {
            "LEPTON_WORKSPACE_ID": "ws1",
            "LEPTON_JOB_NAME": workload.id,
            "LEPTON_WORKER_ID": workload.replica(),
            "LEPTON_JOB_WORKER_INDEX": "0",
            "LEPTON_JOB_TOTAL_WORKERS": str(workload.blueprint.replicas),
            "LEPTON_JOB_FAILURE_COUNT": "0",
        }
    return found


def source(mount: dict[str, Any], volumes: dict[str, Path]) -> Path:
    """The folder of this machine behind a mount, which is made when it is not there."""
    folder = volumes[mount["from"]] / str(mount.get("path") or "").lstrip("/")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def bind(mount: dict[str, Any]) -> dict[str, str]:
    """How a folder is mounted."""
    read_only = (mount.get("mount_options") or {}).get("read_only")
    return {"bind": mount["mount_path"], "mode": "ro" if read_only else "rw"}


def healthy(port: int) -> bool:
    """Whether a server at a port of this machine says so."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
