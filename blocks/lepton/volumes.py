"""Folders of Lepton's volumes, where a plan speaks of the folders of a machine; pure."""

import re
from typing import Any

from proctor.blocks.job import Container, Mount
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import LeptonExecution

CACHE_NAME = "{{MODEL_CACHE_NAME}}"
"""Stands in NeMo Evaluator's paths for a name made of the image's."""
ON_VOLUME = re.compile(r"(node-[^:/]+(?::[^:/]+)?):(/.*)")
"""A folder of a volume: `node-nfs:shared:/models`, `node-local:/cache`."""


def volume_mounts(container: Container, execution: LeptonExecution) -> list[dict[str, Any]]:
    """What a container sees of volumes: what the section names for all of them, and its own folders.

    Raises ConfigError for a folder that lies on no volume.
    """
    declared = [each.model_dump(exclude_none=True) for each in execution.mounts]
    return [*declared, *(volume_mount(each, container, execution) for each in container.mounts)]


def volume_mount(mount: Mount, container: Container, execution: LeptonExecution) -> dict[str, Any]:
    """One folder of a container's own."""
    volume, path = placed(mount, execution)
    path = path.replace(CACHE_NAME, (container.image or "").rpartition("/")[2].replace(".", "-").replace(":", "-"))
    options = {"mount_options": {"read_only": True}} if mount.read_only else {}
    return {"from": volume, "path": path, "mount_path": mount.target, **options}


def placed(mount: Mount, execution: LeptonExecution) -> tuple[str, str]:
    """Volume and folder behind a mount; a folder under the `mount_path` of another one is meant as containers see it."""
    named = ON_VOLUME.fullmatch(mount.source)
    if named:
        return named[1], named[2]
    for each in execution.mounts:
        seen = each.mount_path.rstrip("/")
        if f"{mount.source}/".startswith(f"{seen}/"):
            return each.volume, each.path.rstrip("/") + mount.source.removeprefix(seen)
    raise ConfigError(
        f"the folder {mount.source!r}, which containers are to see as {mount.target}, lies on no volume of Lepton; write "
        f"its volume before it (deployment.checkpoint_path, cache_path, mounts, dataset_dir), for instance "
        f"node-nfs:shared:{'' if mount.source.startswith('/') else '/'}{mount.source}"
    )
