"""Which backends there are. Importing this module registers ours with Prefect (entry point `prefect.collections`)."""

import difflib
from importlib.metadata import EntryPoint, entry_points

from proctor.blocks.backend import Backend
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import BaseExecution

GROUP = "proctor.backends"


def installed() -> dict[str, EntryPoint]:
    """The backends that this installation can run, by execution type."""
    return {point.name: point for point in entry_points(group=GROUP)}


def backend_class(kind: str) -> type[Backend]:
    """The class behind an execution type. Raises ConfigError with the types to choose from."""
    found = installed()
    if kind not in found:
        near = difflib.get_close_matches(kind, found, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it can run {', '.join(sorted(found))}"
        raise ConfigError(
            f"execution.type: this installation cannot run {kind!r}, only render it with --dry-run; {hint}"
        )
    loaded: type[Backend] = found[kind].load()
    return loaded


def make_backend(execution: BaseExecution) -> Backend:
    """The backend that an `execution:` section describes."""
    kind: str = getattr(execution, "type", "")
    return backend_class(kind)(execution=execution)
