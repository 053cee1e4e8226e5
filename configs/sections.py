"""What the schema knows at a place of a config: the keys a section may have, and where a key would be right."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from proctor.configs.aliases import below
from proctor.configs.schema import EvaluationConfig
from proctor.configs.source import dotted

SHOWN = 12
"""How many keys an error lists."""

OTHERS = "custom"
FREE = None
"""A place where the schema accepts any key: a mapping of variables, a harness's own config."""


def section_at(path: Sequence[str | int], tree: Mapping[str, Any]) -> type[BaseModel] | None:
    """The section at a path, or FREE; raises KeyError with the position in the path at which no key fits."""
    current: type[BaseModel] | None = EvaluationConfig
    value: Any = tree
    for index, segment in enumerate(path):
        if current is FREE:
            return FREE
        value = below(value, segment)
        if isinstance(segment, int) or segment.isdigit():
            continue
        if segment not in current.model_fields:
            raise KeyError(index)
        current = chosen(current.model_fields[segment].annotation, value)
    return current


def chosen(annotation: Any, value: Any) -> type[BaseModel] | None:
    """The section that a field's type describes; among several, the one whose `type` the config names."""
    sections = list(sections_in(annotation))
    wanted = value.get("type") if isinstance(value, Mapping) else None
    for section in sections:
        if len(sections) == 1 or wanted in (type_of(section), None):
            return section
    others = [section for section in sections if type_of(section) == OTHERS]
    return next(iter([*others, *sections]), FREE)


def type_of(section: type[BaseModel]) -> str:
    """The `type` that means a section; OTHERS for the one that takes any other."""
    field = section.model_fields["type"]
    return OTHERS if field.is_required() else str(field.default)


def sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every section that a type mentions, except as values of a mapping."""
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not dict:
        for each in get_args(annotation):
            yield from sections_in(each)


def hint(path: Sequence[str | int], tree: Mapping[str, Any]) -> str:
    """What to write instead of a path that the schema does not know: the nearest key there, or the same key elsewhere."""
    index = unknown_at(path, tree)
    section = section_at(path[:index], tree)
    known = list(section.model_fields) if section is not FREE else []
    key, place = str(path[index]), path[:index]
    near = get_close_matches(key, known, n=1, cutoff=0.7)
    if near:
        return f"did you mean {dotted([*place, near[0]])!r}?"
    elsewhere = [each for each in all_paths() if each[-1] == key]
    if elsewhere:
        return elsewhere_hint(elsewhere, place)
    loose = get_close_matches(key, known, n=1, cutoff=0.5)
    if loose:
        return f"did you mean {dotted([*place, loose[0]])!r}?"
    rest = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return f"{dotted(place) or 'a config'} knows {', '.join(known[:SHOWN])}{rest}"


def elsewhere_hint(found: list[tuple[str, ...]], place: Sequence[str | int]) -> str:
    """A key that is right in another section, or for another type of this section."""
    sections = {"execution", "deployment"}
    types = [path[1] for path in found if path[0] in sections and path[0] == (place[0] if place else None)]
    if types:
        return f"only {dotted(place[:1])}: {' or '.join(types)} has it"
    path = next((each for each in found), ())
    return f"did you mean {dotted([path[0], *path[2:]] if path[0] in sections else path)!r}?"


def unknown_at(path: Sequence[str | int], tree: Mapping[str, Any]) -> int:
    """The position of the first segment that the schema does not know."""
    try:
        section_at(path, tree)
    except KeyError as error:
        return int(error.args[0])
    return len(path) - 1


def is_known(path: Sequence[str | int], tree: Mapping[str, Any]) -> bool:
    """Whether a config may have a value at this path."""
    try:
        section_at(path, tree)
    except KeyError:
        return False
    return True


def all_paths() -> Iterator[tuple[str, ...]]:
    """Every key of the schema; for execution and deployment the type stands second."""
    for name, field in EvaluationConfig.model_fields.items():
        yield (name,)
        sections = list(sections_in(field.annotation))
        for section in sections:
            kind = (type_of(section),) if name in {"execution", "deployment"} else ()
            for key, inner in section.model_fields.items():
                yield (name, *kind, key)
                yield from (
                    (name, *kind, key, last) for each in sections_in(inner.annotation) for last in each.model_fields
                )
