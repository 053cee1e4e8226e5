"""A stand-in for the Lepton service on loopback, written from what its SDK sends and reads.

    with Service(family="new", volumes={"node-nfs:shared": folder}, runner="docker") as service:
        APIClient(service.workspace, service.token, service.url)

It keeps jobs and endpoints of one workspace, runs their containers (or only says so, by `script`), refuses what the real
service refuses, and fails when it is told to.
"""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import unquote

from tests.lepton import jobs
from tests.lepton.containers import ContainerDriver
from tests.lepton.endpoints import Endpoints
from tests.lepton.faults import Fault, Faults, answered
from tests.lepton.jobs import Jobs
from tests.lepton.script import ENDED, Script, Steps
from tests.lepton.stock import Stock
from tests.lepton.wire import Listener, Refusal, Reply, Request, copied, unknown
from tests.lepton.workload import Workload
from tests.lepton.workspace import Workspace
from tests.lepton.world import Route, World

Routes = list[tuple[str, re.Pattern[str], Route]]


class Service:
    """One workspace behind a URL. Switches that may be changed at any time are attributes of `world` and `stock`."""

    def __init__(
        self,
        family: Literal["legacy", "new"] = "legacy",
        volumes: Mapping[str, Path] | None = None,
        runner: Literal["script", "docker"] = "script",
        **switches: Any,
    ) -> None:
        self.stock = Stock(dict(volumes or {}))
        self.world = World(self.stock, family, runner, **switches)
        self.faults = Faults()
        self.requests: list[Request] = []
        """What was asked, oldest first; on an endpoint's own URL in `data_requests`."""
        self.api_endpoints = Endpoints(self.world)
        self.routes = compiled(
            [*Jobs(self.world).routes(), *self.api_endpoints.routes(), *Workspace(self.world).routes()]
        )
        self.root = f"/api/v2/workspaces/{self.world.workspace}"
        self.listener = Listener(self.answer)
        self.url = self.listener.url + self.root

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Close every listener and remove every container."""
        self.world.stopping.set()
        self.listener.stop()
        for gateway in list(self.api_endpoints.gateways.values()):
            gateway.stop()
        self.world.engine.clear()

    @property
    def workspace(self) -> str:
        """The workspace's id."""
        return self.world.workspace

    @property
    def token(self) -> str:
        """What opens it; another one is refused with 401."""
        return self.world.token

    @token.setter
    def token(self, value: str) -> None:
        self.world.token = value

    @property
    def secrets(self) -> dict[str, str]:
        """The secrets by name; add and remove as you like."""
        return self.world.secrets

    @property
    def volumes(self) -> dict[str, Path]:
        """Folders of this machine by volume, for instance `node-nfs:shared`."""
        return self.stock.volumes

    @property
    def served_model(self) -> str:
        """The model that a scripted endpoint lists."""
        return self.world.served_model

    @served_model.setter
    def served_model(self, value: str) -> None:
        self.world.served_model = value

    @property
    def data_requests(self) -> list[tuple[str, Request]]:
        """What the endpoints were asked at their own URLs, with their names."""
        return self.world.data_requests

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """The jobs as the service shows them now, oldest first; archived ones too, deleted ones not."""
        self.world.sweep()
        return [jobs.document(each) for each in list(self.world.jobs.values())]

    @property
    def endpoints(self) -> list[dict[str, Any]]:
        """The endpoints as the service shows them now, oldest first."""
        self.world.sweep()
        return [self.api_endpoints.shown(each) for each in list(self.world.endpoints.values())]

    def workloads(self) -> list[Workload]:
        """Jobs and endpoints."""
        return [*self.world.jobs.values(), *self.world.endpoints.values()]

    def workload(self, key: str) -> Workload:
        """A job by id or (the newest) by name, or an endpoint."""
        return next(each for each in reversed(self.workloads()) if key in {each.id, each.name})

    def script(self, glob: str, steps: Sequence[tuple[str, float | None]]) -> None:
        """States and their seconds (None for ever) of jobs and endpoints of such names.

        For those to come from their creation, for those already there from now.
        """
        course: Steps = list(steps)
        with self.world.lock:
            self.world.scripts.append((glob, course))
            for each in self.workloads():
                if fnmatchcase(each.name, glob):
                    each.driver.halt()
                    each.driver = Script(course)

    def fault(self, method: str, path: str, **how: Any) -> None:
        """Let requests fail; `how` as in Fault. Paths are below the workspace's URL: `/jobs*`."""
        self.faults.add(Fault(method, path, **how))

    def data_fault(self, method: str, path: str, **how: Any) -> None:
        """The same for the endpoints' own URLs."""
        self.world.data_faults.add(Fault(method, path, **how))

    def remove_at_once(self) -> None:
        """Let what is being deleted be gone now, and what is deleted later at once."""
        self.world.deletion = 0.0
        for each in self.workloads():
            each.settle = 0.0

    def live(self) -> list[str]:
        """The names of jobs and endpoints that have not ended, or still have a container."""
        self.world.sweep()
        ended = [each for each in self.workloads() if each.state() in ENDED and not each.driver.busy()]
        return [each.name for each in self.workloads() if each not in ended]

    def kill(self, key: str) -> None:
        """End a container without a word, as a node does that dies."""
        driver = self.workload(key).driver
        assert isinstance(driver, ContainerDriver)
        driver.container.kill("KILL")

    def preempt(self, key: str) -> None:
        """Take a job off its node without a word; it waits, and then runs again under the same id."""
        found = self.workload(key)
        assert isinstance(found.driver, ContainerDriver)
        found.driver.halted.set()
        found.driver.container.kill("KILL")
        self.world.start(found)

    def write_log(self, key: str, text: str, late: float = 0.0) -> None:
        """Output of a job (its id, or name) or an endpoint, which arrives so many seconds late."""
        found = self.workload(key)
        found.log.write(text.encode(), found.replica(), late=late)

    def add_event(self, key: str, reason: str, kind: str = "Warning") -> None:
        """Something that happens to a job or an endpoint now, for instance OOMKilled."""
        found = self.workload(key)
        found.events.append((found.created, kind, reason))

    def archive(self, key: str) -> None:
        """Let a job's time be over."""
        self.workload(key).archived = True

    def vanish(self, key: str) -> None:
        """Remove a job or an endpoint at once and without a trace, as another user does."""
        with self.world.lock:
            found = self.workload(key)
            found.driver.halt()
            kept = self.world.jobs if found.kind == "job" else self.world.endpoints
            kept.pop(found.id).when_gone()

    def answer(self, request: Request) -> Reply | None:
        """The reply to a request, or what a fault makes of it."""
        inside = request.path.startswith(f"{self.root}/")
        request.path = request.path.removeprefix(self.root)
        self.requests.append(request)
        if not inside:
            return unknown(request.path).reply
        return answered(self.faults.take(request), copied(request), self.plain, self.world.stopping)

    def plain(self, request: Request) -> Reply:
        """The true reply."""
        try:
            if request.bearer != self.world.token:
                raise Refusal(401, "Unauthorized", "invalid or expired token")
            with self.world.lock:
                self.world.sweep()
                return self.routed(request)
        except Refusal as refusal:
            return refusal.reply

    def routed(self, request: Request) -> Reply:
        """The reply of the route that fits."""
        for method, pattern, route in self.routes:
            if method == request.method and (match := pattern.fullmatch(request.path)):
                reply: Reply = route.answer(request, *map(unquote, match.groups()))
                return reply
        raise unknown(request.path)


def compiled(routes: list[Route]) -> Routes:
    """Routes with their patterns ready."""
    return [(each.method, re.compile(each.pattern.replace("{}", "([^/]+)")), each) for each in routes]
