"""Whatever stands in the place of a value, the answer is a config or one sentence: never a traceback."""

from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from proctor.configs.errors import ConfigError
from proctor.configs.load import load
from proctor.tasks.plan import plan

pytestmark = pytest.mark.slow

INNER = {
    "config": {"params": {"limit_samples": 2, "extra": {"a": 1}}},
    "target": {"api_endpoint": {"url": "http://h/v1/chat/completions", "model_id": "m", "adapter_config": {}}},
}
WHOLE: dict[str, Any] = {
    "defaults": [{"execution": "local"}, {"deployment": "none"}, "_self_"],
    "name": "x",
    "execution": {"type": "local", "output_dir": "/out", "mounts": ["/a:/b"], "env_vars": {"A": "lit:1"}},
    "deployment": {"type": "none"},
    "target": {"api_endpoint": {"url": "http://h:80/v1/chat/completions", "model_id": "m"}},
    "config": {"params": {"temperature": 0}},
    "env_vars": {"B": "lit:2"},
    "evaluation": {
        "nemo_evaluator_config": INNER,
        "overrides": {"config.params.top_p": 1},
        "tasks": [
            {"name": "mmath_en", "nemo_evaluator_config": INNER, "timeout": 5, "overrides": {"config.type": None}}
        ],
    },
    "export": {"destinations": ["local"], "local": {"format": "json"}},
}
STRANGE: tuple[Any, ...] = (
    None,
    3,
    "x",
    True,
    [1],
    {"a": 1},
    {},
    [],
    {"config": 3},
    {"a": 1, "a.b": 2},
    {1: {2: 3}},
    [[{"name": []}]],
)


def places(tree: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every path of a tree below its root."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*above, key)
        yield from places(value, (*above, key))


def with_value(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """The whole config with another value at one place."""
    tree = deepcopy(WHOLE)
    holder: Any = tree
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return tree


def answer(folder: Path, tree: dict[str, Any]) -> str | None:
    """What is said about a config; None where it can be planned."""
    (folder / "c.yaml").write_text(yaml.safe_dump(tree))
    try:
        plan(load(folder, "c"), "00000000", datetime.now(UTC))
    except ConfigError as error:
        return str(error)
    return None


def test_the_config_is_sound(tmp_path: Path) -> None:
    assert answer(tmp_path, WHOLE) is None


@pytest.mark.parametrize("path", list(places(WHOLE)), ids=lambda path: ".".join(map(str, path)))
def test_a_strange_value_is_answered_in_one_sentence(tmp_path: Path, path: tuple[str | int, ...]) -> None:
    told = [answer(tmp_path, with_value(path, value)) for value in STRANGE]
    assert all(each is None or (each and "\n" not in each) for each in told)
