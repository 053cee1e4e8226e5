"""`${...}` and `???`: the values that a tree refers to, and those it leaves open."""

import re
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import getitem
from typing import Any

from proctor.configs.errors import ConfigError
from proctor.configs.source import KeyPath, dotted, one_line


class Unresolved(ConfigError):
    """A value that could not be found, with the path of the key that wanted it."""

    def __init__(self, path: KeyPath, reason: str) -> None:
        super().__init__(f"{dotted(path)}: {reason}")
        self.path = path
        self.reason = reason


def leaves(tree: Any, above: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every value that is no mapping and no list, with its path."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from leaves(value, (*above, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from leaves(value, (*above, index))
    else:
        yield above, tree


def resolve_interpolations(tree: dict[str, Any], readable: Mapping[KeyPath, KeyPath]) -> None:
    """Replace every `${...}` in the tree by its value, in place.

    `readable` names further paths by which values may be referred to (aliases). Raises Unresolved for a reference to
    nothing or to itself, and for one that would bring a secret into the config.
    """
    wanted = [(path, value) for path, value in leaves(tree) if isinstance(value, str) and "${" in value]
    if not wanted:
        return
    from omegaconf import OmegaConf  # noqa: PLC0415 (loaded with Hydra already)

    refuse_secrets(wanted)
    register_resolvers()
    try:
        whole = OmegaConf.merge(schema_defaults(tree), tree, *(nested(old, new) for new, old in readable.items()))
    except Exception as error:  # OmegaConf and its grammar raise many kinds here
        path = next(iter(wanted))[0]
        raise Unresolved(path, one_line(error)) from error
    for path, value in wanted:
        set_at(tree, path, one_value(whole, path, value))


def one_value(whole: Any, path: KeyPath, text: str) -> Any:
    """What a reference stands for."""
    from omegaconf import OmegaConf  # noqa: PLC0415
    from omegaconf.errors import OmegaConfBaseException  # noqa: PLC0415

    try:
        value = reduce(getitem, path, whole)
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except RecursionError as error:
        raise Unresolved(path, f"{text!r} leads back to itself; break the circle") from error
    except OmegaConfBaseException as error:
        raise Unresolved(path, reason(error, text)) from error


def reason(error: Exception, text: str) -> str:
    """OmegaConf's complaint in our words."""
    words = one_line(error)
    variable = re.search(r"Environment variable '([^']+)' not found", words)
    if variable:
        return f"needs the environment variable {variable.group(1)}, which is not set"
    if "recursive" in words.lower() or "circular" in words.lower():
        return f"{text!r} leads back to itself; break the circle"
    key = re.search(r"Interpolation key '([^']+)' not found", words)
    if key:
        return f"{text!r} refers to {key.group(1)!r}, which this config does not have (for the shell's own write \\${{...}})"
    resolver = re.search(r"Unsupported interpolation type ([\w.]+)", words)
    if resolver:
        return f"{text!r} uses {resolver.group(1)!r}, which is no resolver; there are oc.env, oc.select and oc.decode"
    return f"{text!r}: {words}"


def refuse_secrets(wanted: list[tuple[KeyPath, str]]) -> None:
    """Raise Unresolved where a variable's value would be copied into the config."""
    for path, value in wanted:
        if "env_vars" in path and ("oc.env" in value or "oc.decode" in value):
            name = re.search(r"oc\.env:([^,}]+)", value)
            raise Unresolved(
                path, f"would copy a secret into the config; write host:{name.group(1) if name else 'NAME'}"
            )


def register_resolvers() -> None:
    """NeMo Evaluator's own resolver, which its configs use."""
    from omegaconf import OmegaConf  # noqa: PLC0415

    def select_not_null(key: str, default: Any, *, _root_: Any) -> Any:
        value = OmegaConf.select(_root_, key)
        return default if value is None else value

    OmegaConf.register_new_resolver("select_not_null", select_not_null, replace=True, use_cache=False)


def schema_defaults(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The schema's own values for the keys that a config leaves out, so that references to them work."""
    from proctor.configs.sections import section_at  # noqa: PLC0415

    found: dict[str, Any] = {}
    for name in ("execution", "deployment"):
        section = section_at((name,), tree)
        fields = section.model_fields if section else {}
        values = {
            key: field.get_default(call_default_factory=True)
            for key, field in fields.items()
            if not field.is_required()
        }
        found[name] = {
            key: value for key, value in values.items() if isinstance(value, str | int | float | bool | None)
        }
    return found


def nested(path: KeyPath, target: KeyPath) -> dict[str, Any]:
    """A tree that holds a reference to `target` at `path`."""
    value: Any = "${" + dotted(target) + "}"
    for segment in reversed(path):
        if isinstance(segment, int):
            return {}
        value = {segment: value}
    return value if isinstance(value, dict) else {}


def set_at(tree: Any, path: KeyPath, value: Any) -> None:
    """Replace the value at a path."""
    reduce(getitem, path[:-1], tree)[path[-1]] = value


def first_missing(tree: Any) -> KeyPath | None:
    """The path of the first `???`."""
    return next((path for path, value in leaves(tree) if value == "???"), None)
