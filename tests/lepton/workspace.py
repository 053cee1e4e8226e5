"""The workspace itself: its description, secrets, shapes, node groups, and the history of logs."""

from dataclasses import dataclass
from typing import Any

from tests.lepton.fields import SECRET, check_fields
from tests.lepton.loglines import streams
from tests.lepton.stock import Group
from tests.lepton.wire import Reply, Request, invalid, unknown
from tests.lepton.world import Route, World, conflict

LOG_KINDS = {"job": ("job", ""), "deployment": ("endpoint", "legacy"), "endpoint": ("endpoint", "new")}


@dataclass(frozen=True)
class Workspace:
    """What a world has besides workloads."""

    world: World

    def routes(self) -> list[Route]:
        """What is answered here."""
        return [
            Route("GET", "/workspace", self.info),
            Route("GET", "/logs", self.logs),
            Route("GET", "/usersecrets", self.secrets),
            Route("POST", "/usersecrets", self.create_secrets),
            Route("DELETE", "/usersecrets/{}", self.delete_secret),
            Route("GET", "/shapes", self.shapes),
            Route("GET", "/dedicated-node-groups", self.groups),
            Route("GET", "/dedicated-node-groups/{}", self.group),
            Route("GET", "/dedicated-node-groups/{}/nodes", self.nodes),
            Route("GET", "/dedicated-node-groups/{}/reservations", self.reservations),
            Route("GET", "/dedicated-node-groups/{}/datasources", self.datasources),
        ]

    def info(self, request: Request) -> Reply:
        """Who the workspace is, and the family of its endpoints."""
        world = self.world
        none = {"cpu": 0, "memory": 0, "accelerator_num": 0}
        workloads = {"num_deployments": len(world.endpoints), "num_jobs": len(world.jobs), "num_pods": 0}
        secrets = {"num_secrets": len(world.secrets), "num_image_pull_secrets": len(world.stock.pull_secrets)}
        features = {
            "enable_new_deployment_api": world.family == "new",
            "enable_secure_endpoint_defaults": world.secure_defaults,
        }
        return Reply(
            200,
            {
                "build_time": "2026-11-01T00:00:00Z",
                "git_commit": "0" * 40,
                "workspace_name": world.workspace,
                "workspace_tier": "enterprise",
                "workspace_state": "normal",
                "supported_shapes": {},
                "workspace_disk_usage_bytes": 0,
                "workloads": workloads | secrets,
                "resource_quota": {"limit": none, "used": none},
                "features": features,
            },
        )

    def logs(self, request: Request) -> Reply:
        """Lines of a job or an endpoint, collected if its spec says so; nothing of what is unknown."""
        for key, (kind, family) in LOG_KINDS.items():
            if key in request.query:
                name = request.one(key)
                kept = self.world.logs.get((kind, name))
                if kept is None or family not in {"", self.world.family} or not self.collected(kind, name):
                    return Reply(200, streams([]))
                return Reply(200, streams(kept.between(request, self.world.log_lag)))
        raise invalid("one of job, deployment, endpoint is required")

    def collected(self, kind: str, name: str) -> bool:
        """Whether its log is kept; that of a workload that is gone stays."""
        workload = (self.world.jobs if kind == "job" else self.world.endpoints).get(name)
        return workload is None or workload.blueprint.collected

    def secrets(self, request: Request) -> Reply:
        """Their names, never their values."""
        seen = self.world.secret_visibility
        return Reply(
            200,
            [
                {"name": name, "owner": "me@example.com", "visibility": seen.get(name, "public")}
                for name in self.world.secrets
            ],
        )

    def create_secrets(self, request: Request) -> Reply:
        """New secrets, all or none."""
        items = request.body
        if not isinstance(items, list):
            raise invalid("the body must be a list of secrets")
        check_fields(items, SECRET)
        for item in items:
            self.check_secret(item)
        self.world.secrets.update({item["name"]: item["value"] for item in items})
        self.world.secret_visibility |= {item["name"]: item.get("visibility") or "public" for item in items}
        return Reply(201)

    def check_secret(self, item: dict[str, Any]) -> None:
        """Refuse a secret without a name or value, of a reserved name, or that is there."""
        name = item.get("name")
        if not isinstance(name, str) or not name or not isinstance(item.get("value"), str):
            raise invalid("a secret needs a name and a value")
        if name.upper().startswith("LEPTON_"):
            raise invalid(f"secret name {name} is reserved")
        if name in self.world.secrets:
            raise conflict(f"secret {name} already exists")

    def delete_secret(self, request: Request, name: str) -> Reply:
        """Remove one."""
        if name not in self.world.secrets:
            raise unknown(f"secret {name}")
        del self.world.secrets[name]
        return Reply(200)

    def shapes(self, request: Request) -> Reply:
        """The shapes of node groups, by id, for a purpose."""
        groups, purpose = request.query.get("node_groups", []), request.one("purpose")
        stock = self.world.stock
        return Reply(200, [each.document(next(iter(each.groups), "")) for each in stock.shapes_for(groups, purpose)])

    def groups(self, request: Request) -> Reply:
        """All node groups."""
        volumes = self.world.stock.volume_documents()
        return Reply(200, [each.document(volumes) for each in self.world.stock.groups.values()])

    def found(self, key: str) -> Group:
        """A node group by id."""
        if key not in self.world.stock.groups:
            raise unknown(f"dedicated node group {key}")
        return self.world.stock.groups[key]

    def group(self, request: Request, key: str) -> Reply:
        """One node group."""
        return Reply(200, self.found(key).document(self.world.stock.volume_documents()))

    def nodes(self, request: Request, key: str) -> Reply:
        """Its nodes."""
        node = {"spec": {"unschedulable": False}, "status": {"status": ["Ready"]}}
        return Reply(200, [{"metadata": {"id": each, "name": each}, **node} for each in self.found(key).nodes])

    def reservations(self, request: Request, key: str) -> Reply:
        """Its reservations."""
        spec, status = {"approved_nodes": 1}, {"phase": "Reserved", "reserved_count": 1}
        reserved = self.found(key).reservations
        return Reply(
            200, [{"metadata": {"id": each, "name": each}, "spec": spec, "status": status} for each in reserved]
        )

    def datasources(self, request: Request, key: str) -> Reply:
        """Its data sources: none."""
        self.found(key)
        return Reply(200, {"items": []})
