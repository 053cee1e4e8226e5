"""Containers of ours on an engine, whoever made them, and their removal."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from proctor.blocks.docker import containers
from proctor.blocks.docker.engine import engine_errors
from proctor.blocks.docker.request import EVALUATION_LABEL
from proctor.blocks.stages import GRACE_SECONDS
from proctor.blocks.stray import Stray

if TYPE_CHECKING:
    from docker import DockerClient


def find(client: "DockerClient") -> list[Stray]:
    """Every container with our label, running or ended."""
    with engine_errors():
        entries = client.api.containers(all=True, filters={"label": [EVALUATION_LABEL]})
    return [
        Stray(
            str(entry["Labels"][EVALUATION_LABEL]),
            f"container {str(entry['Names'][0]).lstrip('/')}",
            str(entry["Id"]),
            datetime.fromtimestamp(entry["Created"], UTC),
        )
        for entry in entries
    ]


def remove(client: "DockerClient", strays: Collection[Stray]) -> None:
    """Stop and remove these containers; their output stays."""
    wanted = {stray.native for stray in strays}
    with engine_errors():
        entries = client.api.containers(all=True, filters={"label": [EVALUATION_LABEL]})
        ours = [entry for entry in entries if entry["Id"] in wanted]
        containers.stop_all(client, ours, GRACE_SECONDS + 3)
        containers.remove_all(client, ours)
