"""Which kinds of execution this installation can run; says so without importing Prefect or a backend."""

import difflib
from importlib.metadata import EntryPoint, entry_points

from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import BACKENDS


def installed() -> dict[str, EntryPoint]:
    """The backends that this installation can run, by execution type."""
    return {point.name: point for point in entry_points(group=BACKENDS)}


def require_installed(kind: str) -> EntryPoint:
    """The backend of an execution type. Raises ConfigError, with the types to choose from, when none is installed."""
    found = installed()
    if kind in found:
        return found[kind]
    runs = ", ".join(sorted(found))
    near = difflib.get_close_matches(kind, found, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it runs {runs}"
    raise ConfigError(f"execution.type: no backend {kind!r} is installed; {hint}")
