"""From a file and the overrides of the command line to a validated config."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from proctor.configs.aliases import apply_aliases
from proctor.configs.compose import compose, find_file, read_text
from proctor.configs.errors import ConfigError
from proctor.configs.mistakes import validated
from proctor.configs.schema import EvaluationConfig


def load(
    config_dir: str, config_name: str, overrides: Sequence[str] = (), benchmarks: Sequence[str] = ()
) -> EvaluationConfig:
    """The config of an evaluation: composed, with aliases resolved, validated, filtered to `benchmarks` when given.

    Relative paths in it are relative to the current folder. Raises ConfigError, one sentence, for any mistake in it.
    """
    path = find_file(config_dir, config_name)
    text = read_text(path)
    general, of_tasks = split_overrides(overrides)
    tree = apply_aliases(plain(compose(path, text, general), path))
    override_tasks(tree, of_tasks)
    filter_tasks(tree, benchmarks)
    tree["base_dir"] = tree.get("base_dir") or str(Path.cwd())
    return validated(EvaluationConfig, tree, path, text)


def plain(composed: Any, path: Path) -> dict[str, Any]:
    """A composed config as plain values, with its interpolations resolved. Raises ConfigError."""
    from omegaconf import OmegaConf  # noqa: PLC0415 (with Hydra, only where a config is read)
    from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException  # noqa: PLC0415

    try:
        missing = sorted(OmegaConf.missing_keys(composed))
        tree = OmegaConf.to_container(composed, resolve=True)
    except InterpolationKeyError as error:
        raise ConfigError(f"{path}: {error.full_key}: {first_line(error)}") from error
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: {error.full_key or 'an interpolation'}: {first_line(error)}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: interpolations refer to each other in a circle") from error
    if missing:
        raise ConfigError(f"{path}: {missing[0]} is missing (???); give it in the file or with -o {missing[0]}=VALUE")
    return {str(key): value for key, value in tree.items()} if isinstance(tree, dict) else {}


def first_line(error: Exception) -> str:
    """The first line of a message."""
    return str(error).strip().splitlines()[0]


def split_overrides(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """The overrides that name a benchmark (`evaluation.tasks.mmlu.x=1`) apart from all others."""
    general: list[str] = []
    of_tasks: list[str] = []
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        named = (
            key.startswith("evaluation.tasks.") and not key.removeprefix("evaluation.tasks.").split(".")[0].isdigit()
        )
        (of_tasks if named else general).append(override)
    return general, of_tasks


def override_tasks(tree: dict[str, Any], overrides: Sequence[str]) -> None:
    """Apply overrides that name a benchmark to its entry."""
    for override in overrides:
        key, _, text = override.lstrip("+~").partition("=")
        segments = key.removeprefix("evaluation.tasks.").split(".")
        entry, path = named_entry(task_entries(tree), segments)
        for name in path[:-1]:
            entry = entry.setdefault(name, {})
        if override.startswith("~"):
            entry.pop(path[-1], None)
        else:
            entry[path[-1]] = yaml.safe_load(text) if text else ""


def task_entries(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of evaluation.tasks that look like entries; validation tells what is wrong with others."""
    section = tree.get("evaluation")
    entries = section.get("tasks") if isinstance(section, dict) else None
    return [entry for entry in entries or [] if isinstance(entry, dict)]


def named_entry(entries: list[dict[str, Any]], segments: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The entry that the first one or two segments name, and the rest of the path. Raises ConfigError."""
    for count in (2, 1):
        wanted, path = ".".join(segments[:count]), segments[count:]
        found = [
            entry for entry in entries if entry.get("name") == wanted or str(entry.get("name")).endswith(f".{wanted}")
        ]
        if len(found) == 1 and path:
            return found[0], path
        if len(found) > 1:
            raise ConfigError(
                f"-o evaluation.tasks.{wanted}: several benchmarks have this name; use their index instead"
            )
    names = [str(entry.get("name")) for entry in entries]
    near = difflib.get_close_matches(segments[0], names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the config has {', '.join(names)}"
    raise ConfigError(f"-o evaluation.tasks.{'.'.join(segments)}: no benchmark of this name in the config; {hint}")


def filter_tasks(tree: dict[str, Any], wanted: Sequence[str]) -> None:
    """Keep only the benchmarks that `-t` names. Raises ConfigError for one that the config does not have."""
    if not wanted:
        return
    entries = task_entries(tree)
    names = [str(entry.get("name")) for entry in entries]
    for name in wanted:
        if not any(matches(each, name) for each in names):
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names)}"
            raise ConfigError(f"-t {name}: the config has no such benchmark; {hint}")
    tree["evaluation"]["tasks"] = [
        entry for entry, each in zip(entries, names, strict=True) if any(matches(each, name) for name in wanted)
    ]


def matches(name: str, wanted: str) -> bool:
    """Whether a benchmark's name is the wanted one, with or without its harness."""
    return name == wanted or name.endswith(f".{wanted}") or wanted.endswith(f".{name}")
