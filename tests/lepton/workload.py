"""A job or an endpoint as the service keeps it."""

import random
import string
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.lepton.blueprint import Blueprint
from tests.lepton.loglines import Log
from tests.lepton.script import ENDED, Driver

IDLE = 3600
"""Seconds without a request after which an endpoint is scaled down that says nothing of it."""
WAITING = frozenset({"Queueing", "Awaiting", "PendingRetry", "Stopped", "Archived", "Deleted"})
"""States without replicas."""
EVENTS = {
    "Starting": ("Normal", "Scheduled"),
    "Running": ("Normal", "Started"),
    "Ready": ("Normal", "Started"),
    "Failed": ("Warning", "Failed"),
    "Error": ("Warning", "BackOff"),
    "Restarting": ("Normal", "Killing"),
    "Stopped": ("Normal", "Killing"),
}


@dataclass
class Workload:
    """Its documents are made of this whenever they are asked for."""

    kind: str
    """job or endpoint."""
    id: str
    name: str
    metadata: dict[str, Any]
    spec: dict[str, Any]
    blueprint: Blueprint
    driver: Driver
    log: Log
    settle: float
    """Seconds that stopping and deleting take at least."""
    created: float = field(default_factory=time.time)
    events: list[tuple[float, str, str]] = field(default_factory=list)
    """When, type, reason: those that no state tells."""
    terminations: list[dict[str, Any]] = field(default_factory=list)
    deleting: float | None = None
    stopped: float | None = None
    archived: bool = False
    generated_token: str = ""
    asked: float = 0.0
    """When an endpoint was last asked at its own URL."""
    when_gone: Callable[[], None] = lambda: None

    def state(self) -> str:
        """Its state now, in the words of the service."""
        if self.deleting is not None:
            return "Deleting"
        start = (self.spec.get("time_schedule") or {}).get("start_at")
        if self.kind == "job" and start and time.time() < start:
            return "Awaiting"
        if self.kind == "job" and (self.archived or self.outlived()):
            return "Archived"
        if self.stopped is not None:
            over = time.time() - self.stopped >= self.settle and not self.driver.busy()
            return "Stopped" if over else "Stopping"
        return "Stopped" if self.kind == "endpoint" and self.idle() else self.driver.state()

    def idle(self) -> bool:
        """Whether an endpoint had no request for so long that it was scaled down to none; requests do not bring it back."""
        part = next(iter(self.spec.get("components") or []), self.spec)
        scaler = part.get("auto_scaler") or part.get("autoscaling") or {}
        limit = (scaler.get("scale_down") or {}).get("no_traffic_timeout", IDLE)
        return bool(limit) and time.time() - (self.asked or self.created) >= limit

    def outcome(self) -> str:
        """Its last state that was not Archived."""
        return "Stopped" if self.stopped is not None else self.driver.state()

    def outlived(self) -> bool:
        """Whether it ended longer ago than it is kept."""
        ended = self.stopped if self.stopped is not None else self.driver.ended()
        kept = self.spec.get("ttl_seconds_after_finished")
        return ended is not None and kept is not None and time.time() - ended >= kept

    def over(self) -> bool:
        """Whether no more output can come."""
        return self.deleting is not None or self.state() in ENDED | {"Error"}

    def gone(self) -> bool:
        """Whether its deletion is complete."""
        return self.deleting is not None and time.time() - self.deleting >= self.settle and not self.driver.busy()

    def halt(self) -> None:
        """Stop it, unless it has ended."""
        if self.state() not in ENDED | {"Deleting"}:
            self.stopped = time.time()
            self.driver.halt()

    def delete(self) -> None:
        """Begin to delete it."""
        self.deleting = self.deleting or time.time()
        self.driver.halt()

    def replicas(self) -> list[str]:
        """The ids of its replicas."""
        if self.state() in WAITING:
            return []
        return [f"{self.id}-{index}-{suffix(5, f'{self.id}{index}')}" for index in range(self.blueprint.replicas)]

    def replica(self) -> str:
        """The id of its first replica, even when it has none now."""
        return f"{self.id}-0-{suffix(5, f'{self.id}0')}"

    def all_events(self) -> list[tuple[float, str, str]]:
        """What its states tell, and what else happened."""
        told = [(self.created, *EVENTS[state]) for state in self.driver.visited() if state in EVENTS]
        return sorted([*told, *self.events])


def suffix(length: int, seed: str | None = None) -> str:
    """Letters and digits as Kubernetes appends them."""
    return "".join(random.Random(seed).choices(string.ascii_lowercase + string.digits, k=length))


def milliseconds(at: float | None) -> int | None:
    """Seconds of the epoch as the service writes them."""
    return None if at is None else int(at * 1000)


def iso(at: float) -> str:
    """Seconds of the epoch as Kubernetes writes them."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def event_documents(workload: Workload) -> list[dict[str, Any]]:
    """`GET .../events`."""
    about = {"kind": "Pod", "name": workload.replica()}
    return [
        {"type": kind, "reason": reason, "count": 1, "regarding": about, "last_observed_time": iso(at)}
        for at, kind, reason in workload.all_events()
    ]


def replica_documents(workload: Workload) -> list[dict[str, Any]]:
    """`GET .../replicas`."""
    node = {"id": "node-a1", "name": "node-a1"}
    return [{"metadata": {"id": each}, "id": each, "status": {"node": node}} for each in workload.replicas()]
