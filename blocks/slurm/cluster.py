"""The connections of this process: one for each login, whoever asks."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from proctor.blocks.slurm.answer import COMMAND_TIMEOUT, Answer
from proctor.blocks.slurm.openssh import ControlSocket
from proctor.blocks.slurm.ssh_config import Login
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import SlurmExecution


class Cluster(Protocol):
    """How commands reach a cluster."""

    commands: int
    opened: int

    def run(self, command: str, stdin: bytes = b"", *, timeout: float = COMMAND_TIMEOUT) -> Answer:
        """Run a command with this input and wait for its end."""

    def stream(self, command: str, stdin: bytes = b"", *, silence: float | None = None) -> Iterator[bytes]:
        """What a command prints, as it comes."""

    def close(self) -> None:
        """Let go of the connection."""


LOCK = threading.Lock()
MADE: dict[Login, Cluster] = {}


def login(execution: SlurmExecution) -> Login:
    """How this section logs in."""
    if not execution.hostname:
        raise ConfigError("execution.hostname is missing; name the cluster's login node, or a Host of ~/.ssh/config")
    config = str(Path(execution.ssh_config).expanduser()) if execution.ssh_config else None
    return Login(execution.hostname, execution.username, execution.ssh_key_path, execution.ssh_control_path, config)


def cluster(execution: SlurmExecution) -> Cluster:
    """The connection of this section's login; opened with the first command."""
    wanted = login(execution)
    with LOCK:
        if wanted not in MADE:
            MADE[wanted] = ControlSocket(wanted) if wanted.control_path else connection(wanted)
        return MADE[wanted]


def connection(wanted: Login) -> Cluster:
    """A connection of our own."""
    from proctor.blocks.slurm.ssh import Connection  # noqa: PLC0415 (paramiko, only where a cluster is reached)

    return Connection(wanted)
