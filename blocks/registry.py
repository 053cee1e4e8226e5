"""Which backends there are.

Importing this module registers ours with Prefect (entry point `prefect.collections`, `prefect block register -m`).
"""

from proctor.blocks.backend import Backend
from proctor.blocks.docker.block import DockerBackend
from proctor.blocks.installed import require_installed
from proctor.blocks.lepton.block import LeptonBackend
from proctor.blocks.process.block import ProcessBackend
from proctor.blocks.simulated.block import SimulatedBackend
from proctor.blocks.slurm.block import SlurmBackend
from proctor.configs.execution_schema import BaseExecution

__all__ = [
    "DockerBackend",
    "LeptonBackend",
    "ProcessBackend",
    "SimulatedBackend",
    "SlurmBackend",
    "backend_class",
    "make_backend",
]


def backend_class(kind: str) -> type[Backend]:
    """The class behind an execution type. Raises ConfigError with the types to choose from."""
    loaded: type[Backend] = require_installed(kind).load()
    return loaded


def make_backend(execution: BaseExecution) -> Backend:
    """The backend that an `execution:` section describes."""
    kind: str = getattr(execution, "type", "")
    return backend_class(kind)(execution=execution)
