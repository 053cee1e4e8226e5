"""Endpoints: /deployments in the legacy family, /endpoints in the new one."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.lepton import blueprint, checks
from tests.lepton.endpoint_documents import document, readiness
from tests.lepton.fields import LEGACY, NEW, check_fields, merged
from tests.lepton.gateway import Gateway
from tests.lepton.jobs import tail
from tests.lepton.script import Script
from tests.lepton.wire import Refusal, Reply, Request, invalid
from tests.lepton.workload import Workload, event_documents, replica_documents, suffix
from tests.lepton.world import Route, World, body_of, conflict, found

Handler = Callable[..., Reply]


@dataclass(frozen=True)
class Endpoints:
    """The endpoints of a world, and the listener of each."""

    world: World
    gateways: dict[str, Gateway] = field(default_factory=dict)
    opened: Callable[[World, Workload], Gateway] = Gateway

    def routes(self) -> list[Route]:
        """What is answered here, in both families; readiness and terminations only in the legacy one."""
        found: list[Route] = []
        for family, root in (("legacy", "/deployments"), ("new", "/endpoints")):
            for method, below, answer in (
                ("POST", "", self.create),
                ("GET", "", self.listing),
                ("GET", "/{}", self.one),
                ("PATCH", "/{}", self.change),
                ("DELETE", "/{}", self.delete),
                ("PUT", "/{}/restart", self.restart),
                ("GET", "/{}/replicas", self.replicas),
                ("GET", "/{}/events", self.events),
                ("GET", "/{}/replicas/{}/log", self.tail),
            ):
                found.append(Route(method, root + below, self.of(family, answer)))
        found.append(Route("GET", "/deployments/{}/readiness", self.of("legacy", self.readiness)))
        found.append(Route("GET", "/deployments/{}/termination", self.of("legacy", self.termination)))
        return found

    def of(self, family: str, answer: Handler) -> Handler:
        """The answer, in a workspace of this family; else 403."""

        def answered(*arguments: Any) -> Reply:
            if self.world.family != family:
                raise Refusal(403, "StatusForbidden", f"the {family} deployment API is not enabled in this workspace")
            return answer(*arguments)

        return answered

    def get(self, name: str) -> Workload:
        """An endpoint; 404 when there is none."""
        return found(self.world.endpoints, "endpoint", name)

    def shown(self, endpoint: Workload, *, created: bool = False) -> dict[str, Any]:
        """An endpoint on the wire; a generated token only when it is `created`."""
        return document(self.world, endpoint, self.gateways[endpoint.id].url, created=created)

    def create(self, request: Request) -> Reply:
        """A new endpoint; its name must be free, of one that is being deleted too."""
        body = copy.deepcopy(body_of(request))
        check_fields(body, LEGACY if self.world.family == "legacy" else NEW)
        metadata, spec = body.get("metadata") or {}, body.get("spec") or {}
        name = checks.check_name(metadata.get("name") or metadata.get("id"))
        plan = self.checked(spec)
        if name in self.world.endpoints:
            raise conflict(f"endpoint {name} already exists")
        visibility = (metadata.get("lepton_metadata") or metadata).get("visibility") or "public"
        log = self.world.log_of("endpoint", name)
        shown = {"visibility": visibility, "version": 1}
        endpoint = Workload("endpoint", name, name, shown, spec, plan, Script([]), log, self.world.deletion)
        if self.world.secure_defaults and not plan.tokens and not plan.public:
            endpoint.generated_token = suffix(40)
        self.world.endpoints[name] = endpoint
        self.gateways[name] = self.opened(self.world, endpoint)
        endpoint.when_gone = lambda: self.gateways.pop(name).stop()
        self.world.start(endpoint)
        return Reply(201, self.shown(endpoint, created=True))

    def checked(self, spec: dict[str, Any]) -> blueprint.Blueprint:
        """The blueprint of a spec; refuses what cannot run."""
        if self.world.family == "new" and not isinstance(spec.get("components"), list):
            raise invalid("spec.components must be a list")
        plan = blueprint.of_legacy(spec) if self.world.family == "legacy" else blueprint.of_new(spec)
        checks.check(self.world.stock, self.world.secrets, plan, "deployment")
        return plan

    def listing(self, request: Request) -> Reply:
        """All of them, in a bare array."""
        late = time.time() - self.world.list_lag
        return Reply(200, [self.shown(each) for each in self.world.endpoints.values() if each.created <= late])

    def one(self, request: Request, name: str) -> Reply:
        """One endpoint."""
        return Reply(200, self.shown(self.get(name)))

    def change(self, request: Request, name: str) -> Reply:
        """A merge patch; in the new family the list of components is replaced as a whole."""
        endpoint, body = self.get(name), body_of(request)
        check_fields(body, LEGACY if self.world.family == "legacy" else NEW)
        spec = merged(endpoint.spec, body.get("spec") or {})
        if endpoint.deleting is not None:
            raise conflict(f"endpoint {name} is being deleted")
        if spec == endpoint.spec:
            raise invalid("no valid field to update")
        plan = self.checked(spec)
        if request.one("dryrun") == "true":
            return Reply(200, {**self.shown(endpoint), "spec": spec})
        endpoint.spec, before, endpoint.blueprint = spec, endpoint.blueprint, plan
        endpoint.metadata["version"] += 1
        self.follow(endpoint, before)
        return Reply(200, self.shown(endpoint))

    def follow(self, endpoint: Workload, before: blueprint.Blueprint) -> None:
        """Run what the spec says now."""
        if endpoint.blueprint.replicas == 0:
            endpoint.halt()
        elif endpoint.stopped is not None or before.image != endpoint.blueprint.image:
            self.again(endpoint)

    def again(self, endpoint: Workload) -> None:
        """Start it anew."""
        endpoint.driver.halt()
        endpoint.stopped = None
        self.world.start(endpoint)

    def delete(self, request: Request, name: str) -> Reply:
        """Begin to delete it."""
        self.get(name).delete()
        return Reply(200)

    def restart(self, request: Request, name: str) -> Reply:
        """Start it anew."""
        endpoint = self.get(name)
        if endpoint.deleting is not None or endpoint.blueprint.replicas == 0:
            raise invalid(f"endpoint {name} has nothing to restart")
        self.again(endpoint)
        return Reply(200, self.shown(endpoint))

    def replicas(self, request: Request, name: str) -> Reply:
        """Its replicas."""
        return Reply(200, replica_documents(self.get(name)))

    def events(self, request: Request, name: str) -> Reply:
        """What happened to it."""
        return Reply(200, event_documents(self.get(name)))

    def tail(self, request: Request, name: str, replica: str) -> Reply:
        """Its log from the beginning, until it ends."""
        return tail(self.world, self.get(name), replica)

    def readiness(self, request: Request, name: str) -> Reply:
        """Why each replica is ready, or not."""
        return Reply(200, readiness(self.get(name)))

    def termination(self, request: Request, name: str) -> Reply:
        """How replicas died."""
        endpoint = self.get(name)
        return Reply(200, {endpoint.replica(): endpoint.terminations} if endpoint.terminations else {})
