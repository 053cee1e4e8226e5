"""Values of `host:` variables that `proctor run` hands to an evaluation which runs in another process of this machine.

The worker of the machine's own stack was started earlier and does not know the variables of the caller's shell. Values must
not enter Prefect, so they travel in a file of mode 0600 under PROCTOR_HOME, which the evaluation deletes when it ends, and the worker where it ended otherwise.
"""

import getpass
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

current_evaluation: ContextVar[str | None] = ContextVar("current_evaluation", default=None)
"""The evaluation whose handed-over values count, set by the flow and by whoever ends its jobs in another process."""


@contextmanager
def on_behalf_of(evaluation: str) -> Iterator[None]:
    """Until the block is left, the values that were handed over for this evaluation count."""
    before = current_evaluation.set(evaluation)
    try:
        yield
    finally:
        current_evaluation.reset(before)


def proctor_home() -> Path:
    """The folder of this machine's stack: PROCTOR_HOME, or ~/.proctor."""
    return Path(os.environ.get("PROCTOR_HOME") or Path.home() / ".proctor")


def user() -> str:
    """Who this process belongs to; a container may run with an id that has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def env_file(evaluation: str) -> Path:
    """Where the values for one evaluation lie."""
    return proctor_home() / "env" / f"{evaluation}.json"


def hand_over(evaluation: str, values: Mapping[str, str]) -> None:
    """Write the values for an evaluation, readable by nobody else."""
    path = env_file(evaluation)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(dict(values), file)


def hand_over_also(evaluation: str, values: Mapping[str, str]) -> None:
    """Write these values in place of older ones, beside those that were handed over before."""
    path = env_file(evaluation)
    before = json.loads(path.read_text()) if path.exists() else {}
    hand_over(evaluation, {**before, **values})


def forget(evaluation: str) -> None:
    """Delete the values of an evaluation that has ended."""
    env_file(evaluation).unlink(missing_ok=True)


def handed() -> dict[str, datetime]:
    """The evaluations whose values lie here, and since when."""
    files = list((proctor_home() / "env").glob("*.json"))
    return {path.stem: datetime.fromtimestamp(path.stat().st_mtime, UTC) for path in files if path.exists()}


def host_value(name: str, environment: Mapping[str, str]) -> str | None:
    """The value of a variable: handed over for the current evaluation, else of this process, else None."""
    handed = handed_values()
    return str(handed[name]) if name in handed else environment.get(name)


def first_value(names: Iterable[str], environment: Mapping[str, str]) -> str | None:
    """The value of the first of several variables that is set; one that was handed over counts before any of this process."""
    handed, wanted = handed_values(), list(names)
    return next((values[name] for values in (handed, environment) for name in wanted if values.get(name)), None)


def handed_values() -> Mapping[str, str]:
    """What was handed over for the current evaluation."""
    evaluation = current_evaluation.get()
    try:
        found: dict[str, str] = json.loads(env_file(evaluation).read_text()) if evaluation is not None else {}
    except FileNotFoundError:
        return {}
    return found
