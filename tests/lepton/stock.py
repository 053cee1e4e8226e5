"""What a workspace has before anything runs in it: node groups, nodes, shapes, volumes, reservations."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EVERYTHING = ("job", "deployment", "pod")


@dataclass(frozen=True)
class Shape:
    """What a replica can be given, and in which node groups and for what."""

    id: str
    cpu: float
    memory_mb: int
    accelerator: str = ""
    accelerators: int = 0
    groups: tuple[str, ...] = ("cpu-pool-ab12cd34",)
    purposes: tuple[str, ...] = EVERYTHING

    def document(self, group: str) -> dict[str, Any]:
        """The shape on the wire."""
        spec: dict[str, Any] = {
            "name": self.id,
            "description": self.id,
            "listable_in": list(self.purposes),
            "cpu": self.cpu,
            "memory_in_mb": self.memory_mb,
            "ephemeral_storage_in_gb": 100,
            "node_group_id": group,
        }
        if self.accelerators:
            spec |= {"accelerator_type": self.accelerator, "accelerator_num": self.accelerators}
            spec |= {"accelerator_memory_in_mb": 81920}
        return {"metadata": {"id": self.id, "name": self.id}, "spec": spec}


@dataclass(frozen=True)
class Group:
    """A dedicated node group."""

    id: str
    name: str
    nodes: tuple[str, ...]
    reservations: tuple[str, ...] = ()
    quota: bool = True

    def document(self, volumes: list[dict[str, Any]]) -> dict[str, Any]:
        """The group on the wire."""
        return {
            "metadata": {"id": self.id, "name": self.name, "created_at": 1760000000000},
            "spec": {"workspaces": ["ws1"], "volumes": volumes, "desired_nodes": len(self.nodes)},
            "status": {"ready_nodes": len(self.nodes), "quota_enabled": self.quota},
        }


CPU = Group("cpu-pool-ab12cd34", "cpu-pool", ("node-c1", "node-c2"))
GPU = Group("h200-pool-mjgbgffo", "h200-pool", ("node-a1", "node-a2"), ("reservation-7x2k",))
SHAPES = (
    Shape("cpu.small", 2, 8192, groups=(CPU.id, GPU.id)),
    Shape("cpu.large", 16, 65536),
    Shape("cpu.batch", 4, 16384, purposes=("job",)),
    Shape("gpu.1xh200", 16, 262144, "H200", 1, groups=(GPU.id,)),
    Shape("gpu.8xh200", 128, 2097152, "H200", 8, groups=(GPU.id,), purposes=("job", "deployment")),
)


@dataclass
class Stock:
    """All of it; a test may change it at any time."""

    volumes: dict[str, Path] = field(default_factory=dict)
    """Folders of this machine by volume, for instance `node-nfs:shared`."""
    groups: dict[str, Group] = field(default_factory=lambda: {each.id: each for each in (CPU, GPU)})
    shapes: list[Shape] = field(default_factory=lambda: list(SHAPES))
    pull_secrets: set[str] = field(default_factory=lambda: {"lepton-nvidia"})
    """The registry logins; another one is noticed when the image is pulled, not before."""

    def shapes_for(self, groups: tuple[str, ...] | list[str], purpose: str) -> list[Shape]:
        """The shapes of these groups (of all when none is named) for a purpose (any when empty)."""
        wanted = set(groups or self.groups)
        here = [each for each in self.shapes if not wanted or wanted & {*each.groups}]
        return [each for each in here if purpose in {"", *each.purposes}]

    def volume_documents(self) -> list[dict[str, Any]]:
        """The volumes on the wire."""
        parts = [name.removeprefix("node-").partition(":") for name in self.volumes]
        return [{"from": kind, "name": name or kind, "size_in_gb": 1000} for kind, _, name in parts]
