"""Everything that the stand-in keeps, and its switches."""

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tests.lepton.containers import ContainerDriver, Engine
from tests.lepton.faults import Faults
from tests.lepton.loglines import Log
from tests.lepton.script import ENDPOINT, JOB, NEVER_PULLED, Driver, Script, Steps
from tests.lepton.stock import Stock
from tests.lepton.wire import Refusal, Request, invalid, unknown
from tests.lepton.workload import Workload


@dataclass
class World:
    """One workspace."""

    stock: Stock
    family: str = "legacy"
    runner: str = "script"
    workspace: str = "ws1"
    token: str = field(default_factory=lambda: f"stand-in-token-{uuid.uuid4().hex}-odd")
    secrets: dict[str, str] = field(default_factory=dict)
    secret_visibility: dict[str, str] = field(default_factory=dict)
    """By name, for those that were made through the API: everybody of the workspace may use a public one."""
    persist_labels: bool = True
    """Whether labels of jobs are kept; the real service may drop them."""
    list_lag: float = 0.0
    """Seconds until a new job or endpoint stands in the lists."""
    log_lag: float = 0.0
    """Seconds until a line can be had from `GET /logs`."""
    url_lag: float = 0.0
    """Seconds until an endpoint has a URL."""
    deletion: float = 0.2
    """Seconds that stopping and deleting take at least."""
    chunk: int | None = None
    """Bytes in a piece of a live log; None for whatever there is."""
    archive_deletable: bool = False
    """Whether an archived job can be deleted by who says that it is one."""
    secure_defaults: bool = False
    """Whether an endpoint without a token is given one, told only in the answer to its creation."""
    redact_tokens: bool = False
    """Whether endpoints are shown with `***` for their tokens."""
    served_model: str = "stand-in-model"
    """What a scripted endpoint lists at /v1/models."""
    jobs: dict[str, Workload] = field(default_factory=dict)
    endpoints: dict[str, Workload] = field(default_factory=dict)
    logs: dict[tuple[str, str], Log] = field(default_factory=dict)
    """By kind and id; they outlive what printed them."""
    scripts: list[tuple[str, Steps]] = field(default_factory=list)
    data_requests: list[tuple[str, Request]] = field(default_factory=list)
    """What endpoints were asked, with their names."""
    data_faults: Faults = field(default_factory=Faults)
    lock: threading.RLock = field(default_factory=threading.RLock)
    stopping: threading.Event = field(default_factory=threading.Event)
    engine: Engine = field(default_factory=Engine)

    def sweep(self) -> None:
        """Forget what is deleted by now."""
        with self.lock:
            for kept in (self.jobs, self.endpoints):
                for key in [key for key, each in kept.items() if each.gone()]:
                    kept.pop(key).when_gone()

    def log_of(self, kind: str, key: str) -> Log:
        """The log of a workload."""
        return self.logs.setdefault((kind, key), Log())

    def scripted(self, name: str) -> Steps | None:
        """The newest script for a name."""
        return next((steps for glob, steps in reversed(self.scripts) if fnmatchcase(name, glob)), None)

    def start(self, workload: Workload) -> None:
        """Let it run, or look so."""
        workload.driver = self.driver(workload)
        if isinstance(workload.driver, ContainerDriver):
            workload.driver.start()

    def driver(self, workload: Workload) -> Driver:
        """What drives it: its script, its container, or the usual course."""
        steps = self.scripted(workload.name)
        if steps is None and set(workload.blueprint.pull_secrets) - self.stock.pull_secrets:
            workload.events.append((workload.created, "Warning", "ImagePullBackOff"))
            steps = NEVER_PULLED
        if steps is None and self.runner == "docker":
            return ContainerDriver(self.engine, workload, self.secrets, self.stock.volumes)
        return Script(steps or (JOB if workload.kind == "job" else ENDPOINT))


@dataclass(frozen=True)
class Route:
    """What answers a method and a path, whose `{}` are arguments."""

    method: str
    pattern: str
    answer: Callable[..., Any]


def body_of(request: Request) -> dict[str, Any]:
    """The object that a request brings."""
    if not isinstance(request.body, dict):
        raise invalid("the body must be a JSON object")
    return request.body


def found(kept: dict[str, Workload], kind: str, key: str) -> Workload:
    """A workload; 404 when there is none."""
    if key not in kept:
        raise unknown(f"{kind} {key}")
    return kept[key]


def conflict(message: str) -> Refusal:
    """409 for what is there already."""
    return Refusal(409, "AlreadyExists", message)
