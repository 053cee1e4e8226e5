"""NeMo Evaluator's `deployment.lepton_config.mounts`: a folder for the weights on the volume of the benchmarks; pure."""

from typing import Any

VOLUME = "node-nfs:lepton-shared-fs"
"""The volume that NeMo Evaluator takes where none is named."""


def mount_cache(tree: dict[str, Any]) -> None:
    """Bring it to `deployment.mounts`, in place."""
    section = below(tree, "deployment", "lepton_config")
    mounts = section.pop("mounts", None) if section else None
    if not isinstance(mounts, dict) or mounts.get("enabled") is False or not mounts.get("cache_path"):
        return
    place = f"{volume(tree)}:{mounts['cache_path']}:{mounts.get('mount_path') or '/cache'}"
    tree["deployment"]["mounts"] = [*(tree["deployment"].get("mounts") or []), place]


def volume(tree: dict[str, Any]) -> str:
    """The volume of the benchmarks' first mount."""
    for section in (below(tree, "execution", "lepton_platform", "tasks"), below(tree, "execution")):
        mounts = section.get("mounts") if section else None
        first = mounts[0] if isinstance(mounts, list) and mounts else None
        if isinstance(first, dict) and first.get("from"):
            return str(first["from"])
    return VOLUME


def below(tree: Any, *path: str) -> dict[str, Any] | None:
    """The section at a path."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) else None
