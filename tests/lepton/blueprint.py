"""What a workload is to run, whatever the wire family said it in."""

from dataclasses import dataclass
from typing import Any

DEFAULT_PORT = 40000


@dataclass(frozen=True)
class Blueprint:
    """One container and what it needs."""

    image: str = ""
    command: tuple[str, ...] = ()
    port: int = DEFAULT_PORT
    envs: tuple[dict[str, Any], ...] = ()
    mounts: tuple[dict[str, Any], ...] = ()
    shape: str = ""
    shared_memory: int | None = None
    """MiB."""
    replicas: int = 1
    groups: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    tokens: tuple[dict[str, Any], ...] = ()
    public: bool = False
    pull_secrets: tuple[str, ...] = ()
    reservation: str | None = None
    priority: str | None = None
    collected: bool = False
    """Whether its log can be asked for later."""


def of_job(spec: dict[str, Any]) -> Blueprint:
    """The blueprint of a job's spec."""
    container = spec.get("container") or {}
    return Blueprint(
        **common(spec, spec, container),
        shape=spec.get("resource_shape") or "",
        shared_memory=spec.get("shared_memory_size"),
        replicas=spec.get("parallelism") or 1,
        **placed(spec.get("affinity")),
        pull_secrets=tuple(spec.get("image_pull_secrets") or ()),
    )


def of_legacy(spec: dict[str, Any]) -> Blueprint:
    """The blueprint of an endpoint's spec in the legacy family."""
    resources = spec.get("resource_requirement") or {}
    return Blueprint(
        **common(spec, spec, spec.get("container") or {}),
        **sized(resources),
        tokens=tuple(spec.get("api_tokens") or ()),
        public=bool(spec.get("allow_unauthenticated_access")),
        pull_secrets=tuple(spec.get("image_pull_secrets") or ()),
    )


def of_new(spec: dict[str, Any]) -> Blueprint:
    """The blueprint of an endpoint's spec in the new family."""
    component = (spec.get("components") or [{}])[0]
    return Blueprint(
        **common(spec, component, component),
        **sized(component),
        tokens=tuple(spec.get("api_tokens") or ()),
        public=bool(spec.get("allow_unauthenticated_access")),
        pull_secrets=tuple(spec.get("image_pull_secrets") or ()),
    )


def common(spec: dict[str, Any], part: dict[str, Any], container: dict[str, Any]) -> dict[str, Any]:
    """What all three say alike, in other places."""
    ports = container.get("ports") or [{}]
    return {
        "image": container.get("image") or "",
        "command": tuple(container.get("command") or ()),
        "port": ports[0].get("container_port", DEFAULT_PORT),
        "envs": tuple(part.get("envs") or ()),
        "mounts": tuple(part.get("mounts") or ()),
        "reservation": (part.get("reservation_config") or {}).get("reservation_id"),
        "priority": (part.get("queue_config") or {}).get("priority_class"),
        "collected": (spec.get("log") or {}).get("enable_collection") is True,
    }


def sized(resources: dict[str, Any]) -> dict[str, Any]:
    """The resources of an endpoint."""
    least = resources.get("min_replicas")
    return {
        "shape": resources.get("resource_shape") or "",
        "shared_memory": resources.get("shared_memory_size"),
        "replicas": 1 if least is None else least,
        **placed(resources.get("affinity")),
    }


def placed(affinity: dict[str, Any] | None) -> dict[str, Any]:
    """Where it may run."""
    affinity = affinity or {}
    return {
        "groups": tuple(affinity.get("allowed_dedicated_node_groups") or ()),
        "nodes": tuple(affinity.get("allowed_nodes_in_node_group") or ()),
    }
