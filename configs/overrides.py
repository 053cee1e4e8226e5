"""`-o KEY=VALUE`: changes to a composed config, in Hydra's grammar."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from proctor.configs.aliases import canonical, converted
from proctor.configs.compose import merged
from proctor.configs.errors import ConfigError
from proctor.configs.sections import hint, is_known
from proctor.configs.source import KeyPath, dotted

TASKS = ("evaluation", "tasks")


@dataclass(frozen=True, slots=True)
class Override:
    """One change: a value at a path, or the removal of what stands there."""

    text: str
    """As the user wrote it, without a value that may be a secret."""
    path: tuple[str, ...]
    action: Literal["set", "delete"]
    value: Any = None


def parse_override(text: str) -> Override:
    """An override as it stands on a command line: `a.b=c`, `+a.b=c`, `++a.b=c` (all set the value) or `~a.b`."""
    match = re.fullmatch(r"(\+\+|\+|~)?([^=\s]+?)(?:=(.*))?", text, re.DOTALL)
    prefix, key, value = match.groups() if match else (None, "", None)
    path = tuple(segment for segment in re.split(r"[.\[\]]+", key) if segment)
    if not path or (value is None and prefix != "~"):
        raise ConfigError(f"-o {text}: no override; write KEY=VALUE, or ~KEY to remove a key")
    if prefix == "~":
        return Override(text, path, "delete")
    text = f"{prefix or ''}{key}=..." if "env_vars" in path or "api_key" in path else text
    return Override(text, path, "set", value_of(text, value or ""))


def value_of(text: str, value: str) -> Any:
    """The value in Hydra's grammar; what does not fit it and opens no quote or bracket is a plain string."""
    from hydra.core.override_parser.overrides_parser import OverridesParser  # noqa: PLC0415 (only with overrides)
    from hydra.errors import HydraException  # noqa: PLC0415

    try:
        parsed = OverridesParser.create().parse_override(f"key={value}")
    except HydraException as error:
        if value[:1] in {"[", "{", '"', "'"}:
            raise ConfigError(f"-o {text}: its value is not complete; check its brackets and quotes") from error
        return value
    if parsed.is_sweep_override():
        raise ConfigError(f"-o {text}: a list is written [a,b]; several values in a row are not supported")
    return parsed.value()


def apply(tree: dict[str, Any], override: Override) -> KeyPath:
    """Make one change in the tree and return the path of our own spelling that it changed.

    Raises ConfigError for a key that no config has, with the nearest one.
    """
    written = named_task(tree, override)
    path, value = canonical(written), converted(written, override.value)
    if not is_known(path, tree):
        raise ConfigError(f"-o {override.text}: there is no key {dotted(path)!r}; {hint(path, tree)}")
    holder: Any = tree
    for index, segment in enumerate(path[:-1]):
        holder = step_into(holder, segment, override, path[:index])
    last = path[-1]
    if isinstance(holder, list):
        put_in_list(holder, last, override)
    elif override.action == "delete":
        if last not in holder:
            raise ConfigError(f"-o {override.text}: there is no {dotted(path)} in this config to remove")
        del holder[last]
    else:
        holder[last] = merged(holder.get(last), value)
    return path


def step_into(holder: Any, segment: str | int, override: Override, at: Sequence[str | int]) -> Any:
    """What stands under a segment, made when it is a missing section."""
    if isinstance(holder, list):
        return holder[position(holder, segment, override)]
    if not isinstance(holder.get(segment), dict | list):
        if holder.get(segment) not in (None, "???"):
            raise ConfigError(f"-o {override.text}: {dotted([*at, segment])} is a value, not a section")
        holder[segment] = {}
    return holder[segment]


def put_in_list(holder: list[Any], segment: str | int, override: Override) -> None:
    """Replace, remove or (one behind the end) append an element."""
    if override.action == "set" and str(segment) == str(len(holder)):
        holder.append(override.value)
        return
    index = position(holder, segment, override)
    if override.action == "delete":
        del holder[index]
    else:
        holder[index] = merged(holder[index], override.value)


def position(holder: list[Any], segment: str | int, override: Override) -> int:
    """A list index. Raises ConfigError when the list is shorter or the segment no number."""
    if not str(segment).isdigit() or int(segment) >= len(holder):
        raise ConfigError(f"-o {override.text}: the list has {len(holder)} entries; count from 0")
    return int(segment)


def task_names(tree: Mapping[str, Any]) -> list[str]:
    """The names of the benchmarks in a config, in order."""
    section = tree.get("evaluation")
    tasks = section.get("tasks") if isinstance(section, dict) else None
    entries = tasks if isinstance(tasks, list) else []
    return [str(entry.get("name")) if isinstance(entry, dict) else "" for entry in entries]


def named_task(tree: Mapping[str, Any], override: Override) -> tuple[str | int, ...]:
    """The path of an override, with a benchmark's name in `evaluation.tasks.NAME.x` replaced by its position."""
    path = override.path
    if path[:2] != TASKS or len(path) < 3 or path[2].isdigit():
        return tuple(int(each) if index == 2 and path[:2] == TASKS else each for index, each in enumerate(path))
    names = task_names(tree)
    for count in (2, 1):
        wanted = ".".join(path[2 : 2 + count])
        places = [index for index, name in enumerate(names) if name == wanted or name.endswith(f".{wanted}")]
        if len(places) > 1:
            options = " or ".join(f"evaluation.tasks.{place}" for place in places)
            raise ConfigError(f"-o {override.text}: {wanted!r} stands several times in this config; write {options}")
        if places and len(path) >= 2 + count:
            return (*TASKS, places[0], *path[2 + count :])
    near = get_close_matches(path[2], names, n=1)
    known = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names) or 'none'}"
    raise ConfigError(f"-o {override.text}: this config has no benchmark {path[2]!r}; {known}")


def keep_tasks(tree: dict[str, Any], wanted: Sequence[str]) -> None:
    """Leave only the benchmarks that `-t` names: `NAME`, `HARNESS.NAME` or `NAME.POSITION` in the whole list."""
    names = task_names(tree)
    kept: set[int] = set()
    for name in wanted:
        places = {
            index for index, each in enumerate(names) if name in (each, each.rpartition(".")[2], f"{each}.{index}")
        }
        if not places:
            near = get_close_matches(name, names, n=1)
            known = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names) or 'none'}"
            raise ConfigError(f"-t {name}: this config has no such benchmark; {known}")
        kept |= places
    if wanted:
        tasks = tree["evaluation"]["tasks"]
        tree["evaluation"]["tasks"] = [task for index, task in enumerate(tasks) if index in kept]
