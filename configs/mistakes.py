"""A mistake in a config as one sentence: what is wrong with which value, and the nearest right one."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import BUILTIN_EXECUTIONS, custom_executions
from proctor.configs.schema import EvaluationConfig
from proctor.configs.sections import hint
from proctor.configs.source import KeyPath, dotted

UNIONS = ("execution", "deployment")
"""Sections whose model depends on their `type`; pydantic names the type in an error's location."""

WANTED = {
    "string_type": "text (put it in quotes)",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a section of keys",
    "model_attributes_type": "a section of keys",
}
"""What pydantic wants, in words, by the type of its error."""


class Mistake(ConfigError):
    """A mistake at a known path of a config."""

    def __init__(self, path: KeyPath, sentence: str) -> None:
        super().__init__(sentence)
        self.path = path


def validated(tree: Mapping[str, Any]) -> EvaluationConfig:
    """The tree as a config. Raises Mistake about the first thing wrong with it."""
    check_execution(tree.get("execution"))
    try:
        return EvaluationConfig.model_validate(tree)
    except ValidationError as error:
        found = [(config_path(each["loc"]), each) for each in error.errors(include_url=False)]
        path, first = min(found, key=lambda each: (importance(each[1]), len(each[0])))
        raise Mistake(path, sentence(first, path, tree)) from None


def check_execution(section: Any) -> None:
    """Raise Mistake for a kind of execution that is neither ours nor installed."""
    kind = section.get("type") if isinstance(section, Mapping) else None
    if not isinstance(kind, str) or kind in BUILTIN_EXECUTIONS:
        return
    theirs = custom_executions()
    if kind not in theirs:
        known = [*BUILTIN_EXECUTIONS, *theirs]
        raise Mistake(("execution", "type"), f"execution.type: there is no execution {kind!r}; {choice(kind, known)}")


def importance(error: ErrorDetails) -> int:
    """Which of several mistakes to tell first: a misspelt key often causes the others."""
    return 0 if error["type"] in {"extra_forbidden", "union_tag_invalid"} else 1


def config_path(location: Sequence[str | int]) -> KeyPath:
    """An error's location as a path of the config, without pydantic's mention of the chosen type."""
    if len(location) > 1 and location[0] in UNIONS:
        return (location[0], *location[2:])
    return tuple(location)


def sentence(error: ErrorDetails, path: KeyPath, tree: Mapping[str, Any]) -> str:
    """What is wrong, and what would be right."""
    kind, where = error["type"], dotted(path)
    if kind == "extra_forbidden":
        return f"{where}: unknown key; {hint(path, tree)}"
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        return wrong_type(error, where)
    if kind == "missing" or (kind == "too_short" and path == ("evaluation", "tasks")):
        return missing(where)
    if kind == "literal_error":
        return f"{where}: {shown(error['input'], path)} is not one of its choices; {choice(error['input'], expected(error))}"
    if kind == "value_error":
        return f"{where}: {error['msg'].removeprefix('Value error, ')}"
    wanted = WANTED.get(kind)
    said = f"it must be {wanted}" if wanted else error["msg"].replace("Input should", "it must")
    return f"{where}: {shown(error['input'], path)} does not fit; {said[0].lower()}{said[1:]}"


def missing(where: str) -> str:
    """What to add."""
    if where in {"evaluation", "evaluation.tasks"}:
        return "evaluation.tasks is empty; name at least one benchmark (`proctor ls tasks` lists them)"
    return f"{where} is missing"


def wrong_type(error: ErrorDetails, where: str) -> str:
    """An execution or deployment type that does not exist, or a section without one."""
    context = error.get("ctx", {})
    kinds = [each.strip(" '") for each in str(context.get("expected_tags", "")).split(",")]
    tag = context.get("tag")
    if tag is None:
        return f"{where}: it must be a section of keys with a `type`"
    return f"{where}.type: there is no {where} {tag!r}; {choice(tag, kinds)}"


def expected(error: ErrorDetails) -> list[str]:
    """The values that a key may have."""
    return [each.strip(" '") for each in str(error.get("ctx", {}).get("expected", "")).replace(" or ", ",").split(",")]


def choice(value: Any, choices: Sequence[str]) -> str:
    """The nearest choice, or all of them."""
    near = get_close_matches(str(value), choices, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"write {', '.join(choices[:-1])} or {choices[-1]}"


def shown(value: Any, path: KeyPath) -> str:
    """A value as an error may show it; that of a variable may be a secret in the wrong place."""
    if "env_vars" in path:
        return f"this {type(value).__name__}"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return f"{value!r:.80}"
