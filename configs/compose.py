"""Hydra's part: the user's file and the group files of its `defaults:` list become one tree."""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import reduce
from pathlib import Path
from typing import Any

from proctor.configs.errors import ConfigError
from proctor.configs.source import HERE, SUFFIXES, Source, one_line, parse, read

PRIMARY = "proctor_primary_config"
GROUPS = ("execution", "deployment")
"""Config groups that come with Proctor; a folder beside the user's file adds choices or groups of his own."""


def compose(source: Source, choices: Sequence[tuple[str, str | None]]) -> dict[str, Any]:
    """The tree that a file describes, with these group choices instead of its own; interpolations are left as they are.

    Raises ConfigError for a choice or a file that does not exist.
    """
    document = parse(source)
    defaults = chosen(document.pop("defaults", None), choices, source)
    entries = [checked(entry, source, choices) for entry in defaults]
    layers = plain_layers(document, entries, source)
    if layers is not None:
        return reduce(merged, layers, {})
    return composed_by_hydra({**document, "defaults": entries}, source)


def chosen(defaults: Any, choices: Sequence[tuple[str, str | None]], source: Source) -> list[Any]:
    """The defaults list with choices from the command line replaced in it, or put before the file's own keys."""
    if defaults is not None and not isinstance(defaults, list):
        raise ConfigError(f"{source.shown}: `defaults:` must be a list such as [execution: local, _self_]")
    entries = list(defaults or [])
    if "_self_" not in entries:
        entries.append("_self_")
    for group, choice in choices:
        places = [index for index, entry in enumerate(entries) if isinstance(entry, dict) and group in entry]
        if choice is None:
            entries = [entry for index, entry in enumerate(entries) if index not in places]
        elif places:
            entries[places[0]] = {group: choice}
        else:
            entries.insert(0, {group: choice})
    return entries


def checked(entry: Any, source: Source, choices: Sequence[tuple[str, str | None]]) -> Any:
    """One entry of the defaults list, with NeMo Evaluator's `slurm/default` read as `slurm`."""
    if not isinstance(entry, dict) or len(entry) != 1:
        return entry
    ((group, choice),) = entry.items()
    if not isinstance(choice, str) or not is_group(str(group), source):
        return entry
    there = options(str(group), source)
    short = choice.removesuffix(".yaml").removesuffix("/default")
    for name in (choice, short):
        if name in there:
            return {group: name}
    near = get_close_matches(short, there, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(there)}"
    line = source.line(("defaults",))
    place = f"-o {group}={choice}" if (group, choice) in choices else f"{source.shown}:{line}"
    raise ConfigError(f"{place}: there is no {group} {choice!r}; {hint}")


def is_group(name: str, source: Source) -> bool:
    """Whether a key names a config group: one of ours, or a folder beside the user's file."""
    return name in GROUPS or ("." not in name and name != "" and (source.path.parent / name).is_dir())


def options(group: str, source: Source) -> list[str]:
    """The choices of a group, the user's and ours."""
    found = set()
    for folder in (HERE / group, source.path.parent / group):
        files = [path for path in folder.rglob("*") if path.suffix in SUFFIXES] if folder.is_dir() else []
        found |= {str(path.relative_to(folder).with_suffix("")) for path in files}
    return sorted(found)


def plain_layers(document: dict[str, Any], entries: Sequence[Any], source: Source) -> list[dict[str, Any]] | None:
    """The layers of a defaults list that only chooses among our group files; None for any other, which Hydra reads.

    Most configs are of this kind, and for them 0.2 s of Hydra's own configuration are saved; a test compares both.
    """
    layers: list[dict[str, Any]] = []
    for entry in entries:
        if entry == "_self_":
            layers.append(document)
            continue
        group, choice = next(iter(entry.items())) if isinstance(entry, dict) and len(entry) == 1 else ("", None)
        if group not in GROUPS or not isinstance(choice, str) or (source.path.parent / group).exists():
            return None
        layers.append({group: parse(read(HERE / group / f"{choice}.yaml"))})
    return layers


def merged(below: Any, above: Any) -> Any:
    """Mappings merge, everything else of `above` replaces."""
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: merged(below.get(key), value) for key, value in above.items()}
    return above


def composed_by_hydra(document: dict[str, Any], source: Source) -> dict[str, Any]:
    """What Hydra makes of a document with a defaults list; group files are searched beside the file, then in ours."""
    from hydra import compose as hydra_compose  # noqa: PLC0415 (70 ms; only configs need it)
    from hydra import initialize_config_dir  # noqa: PLC0415
    from hydra.core.config_store import ConfigStore  # noqa: PLC0415
    from hydra.core.global_hydra import GlobalHydra  # noqa: PLC0415
    from hydra.errors import HydraException  # noqa: PLC0415
    from omegaconf import OmegaConf  # noqa: PLC0415
    from omegaconf.errors import OmegaConfBaseException  # noqa: PLC0415

    ConfigStore.instance().store(name=PRIMARY, node=document)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(source.path.parent), version_base=None):
            tree = hydra_compose(PRIMARY, overrides=[f"hydra.searchpath=[{quoted(HERE)}]"])
        content = OmegaConf.to_container(tree, resolve=False)
    except (HydraException, OmegaConfBaseException, ValueError, AssertionError) as error:
        reason = one_line(error).replace(PRIMARY, source.path.stem) or "an entry is neither a name nor GROUP: CHOICE"
        raise ConfigError(f"{source.shown}:{source.line(('defaults',))}: defaults: {reason}") from error
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}


def quoted(folder: Path) -> str:
    """A folder as an element of Hydra's search path."""
    escaped = f"file://{folder}".replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
