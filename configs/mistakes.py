"""A mistake in a config as one sentence: file, line, key, value, nearest valid choice."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from proctor.configs.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)
UNIONS = ("execution", "deployment")
"""Sections whose model depends on their `type`; pydantic names the type in an error's location."""


def validated(model: type[Model], tree: Any, path: Path | None = None, text: str = "") -> Model:
    """The tree as a model. Raises ConfigError about the first mistake in it."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        first = min(error.errors(), key=lambda each: each["type"] == "union_tag_not_found")
        raise ConfigError(sentence(first, model, tree, path, text)) from None


def sentence(error: ErrorDetails, model: type[BaseModel], tree: Any, path: Path | None, text: str) -> str:
    """One pydantic error as a sentence."""
    keys = config_keys(error["loc"])
    where = dotted(keys)
    line = line_of(text, keys)
    prefix = f"{path}:{line}: " if path and line else f"{path}: " if path else ""
    return f"{prefix}{complaint(error, where, keys, model, tree)}"


def complaint(error: ErrorDetails, where: str, keys: Sequence[str | int], model: type[BaseModel], tree: Any) -> str:
    """What is wrong with the value at a key, and what would be right."""
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        known = fields_at(model, keys[:-1], tree)
        near = difflib.get_close_matches(str(keys[-1]), known, n=1)
        section = dotted(keys[:-1]) or "a config"
        hint = f"did you mean {near[0]!r}?" if near else f"{section} knows {', '.join(known)}"
        return f"{where}: unknown key; {hint}"
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        return unknown_type(error, where)
    if kind == "too_short" and where == "evaluation.tasks":
        return "evaluation.tasks is empty; name at least one benchmark (`proctor ls tasks` lists them)"
    message = "it is missing" if kind == "missing" else error["msg"].removeprefix("Value error, ")
    if kind == "literal_error":
        return no_choice(error, where)
    if kind in {"value_error", "missing"}:
        return f"{where}: {message}"
    shown = f"{value!r:.60}" if not isinstance(value, dict | list) else f"a {type(value).__name__}"
    return f"{where}: {message[0].lower()}{message[1:]}, not {shown}"


def no_choice(error: ErrorDetails, where: str) -> str:
    """A value that is none of those a key may have."""
    value = error["input"]
    expected = str(error.get("ctx", {}).get("expected", "")).replace(" or ", ", ")
    near = difflib.get_close_matches(str(value), [each.strip(" '") for each in expected.split(",")], n=1)
    return f"{where}: {value!r} is not a choice; {f'did you mean {near[0]!r}?' if near else f'choose from {expected}'}"


def unknown_type(error: ErrorDetails, where: str) -> str:
    """An execution or deployment type that does not exist."""
    context = error.get("ctx", {})
    expected = str(context.get("expected_tags", "")).replace("'", "")
    tag = str(context.get("tag", ""))
    near = difflib.get_close_matches(tag, expected.split(", "), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {expected}" if expected else "add one"
    return f"{where}.type: {tag!r} is unknown; {hint}" if tag else f"{where}.type is missing; {hint}"


def config_keys(location: Sequence[str | int]) -> list[str | int]:
    """An error's location as keys of the config, without pydantic's mention of the chosen type."""
    if len(location) > 1 and location[0] in UNIONS:
        return [location[0], *location[2:]]
    return list(location)


def dotted(keys: Sequence[str | int]) -> str:
    """Keys as a user writes them: `evaluation.tasks[0].name`."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return text.removeprefix(".")


def fields_at(model: type[BaseModel], keys: Sequence[str | int], tree: Any) -> list[str]:
    """The keys that the section at a place may have."""
    current: type[BaseModel] = model
    for key in keys:
        tree = below(tree, key)
        if isinstance(key, int):
            continue
        choices = models_in(current.model_fields[key].annotation) if key in current.model_fields else []
        wanted = tree.get("type") if isinstance(tree, dict) else None
        fitting = [
            each for each in choices if "type" not in each.model_fields or each.model_fields["type"].default == wanted
        ]
        current = (fitting or choices or [current])[0]
    return list(current.model_fields)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Every model that a type annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for each in get_args(annotation) for model in models_in(each)]


def line_of(text: str, keys: Sequence[str | int]) -> int | None:
    """The line in which a key stands in the user's file; None when it came from elsewhere."""
    node = yaml.compose(text, Loader=yaml.SafeLoader) if text else None
    line = None
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            pairs = {name.value: (name, value) for name, value in node.value}
            if key not in pairs:
                return None
            name, node = pairs[key]
            line = name.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
        else:
            return None
    return line


def below(tree: Any, key: str | int) -> Any:
    """The value at a key or index; None where there is none."""
    if isinstance(tree, dict):
        return tree.get(key)
    return tree[key] if isinstance(tree, list) and isinstance(key, int) and key < len(tree) else None
