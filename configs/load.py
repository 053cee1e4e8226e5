"""From a file and the overrides of a command line to a validated config."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proctor.configs.aliases import apply_aliases, at
from proctor.configs.catalog import load_catalog
from proctor.configs.compose import compose, is_group
from proctor.configs.errors import ConfigError
from proctor.configs.harness_config import check_harness_configs, documents
from proctor.configs.interpolation import Unresolved, first_missing, resolve_interpolations
from proctor.configs.mistakes import Mistake, validated
from proctor.configs.overrides import Override, apply, keep_tasks, parse_override
from proctor.configs.schema import EvaluationConfig
from proctor.configs.source import KeyPath, Source, dotted, find_config
from proctor.configs.urls import NO_URL, is_url


@dataclass(frozen=True, slots=True)
class Loaded:
    """A config that was read, with what its author should know."""

    config: EvaluationConfig
    path: Path
    """The user's file."""
    notes: tuple[str, ...]
    """Keys that are understood and change nothing here."""


@dataclass(slots=True)
class Origins:
    """Where values come from, for error messages."""

    source: Source
    original: dict[KeyPath, KeyPath] = field(default_factory=dict)
    overrides: dict[KeyPath, str] = field(default_factory=dict)

    def place(self, path: KeyPath) -> str:
        """`FILE:LINE: ` of the nearest key there is, or the override that set the value."""
        for length in range(len(path), 0, -1):
            near = path[:length]
            if near in self.overrides:
                return f"-o {self.overrides[near]}: "
            line = self.source.line(self.written(near))
            if line is not None:
                return f"{self.source.shown}:{line}: "
        return f"{self.source.shown}: "

    def written(self, path: KeyPath) -> KeyPath:
        """A path as it stands in the file."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.original:
                return (*self.original[path[:length]], *path[length:])
        return path


def load(
    config_dir: str | Path | None, config_name: str, overrides: Sequence[str] = (), benchmarks: Sequence[str] = ()
) -> EvaluationConfig:
    """The config of an evaluation: composed, our spellings only, filtered to `benchmarks` when given, validated.

    Relative paths in it are relative to the current folder. Raises ConfigError, one sentence, for any mistake in it.
    """
    return read_config(config_dir, config_name, overrides, benchmarks).config


def read_config(
    config_dir: str | Path | None, config_name: str, overrides: Sequence[str] = (), benchmarks: Sequence[str] = ()
) -> Loaded:
    """The same as `load`, with the notes. Raises ConfigError."""
    source = find_config(config_dir, config_name)
    changes = [parse_override(text) for text in overrides]
    choices = [(each.path[0], group_choice(each)) for each in changes if is_choice(each, source)]
    tree = compose(source, choices)
    renamed = apply_aliases(tree)
    origins = Origins(source, renamed.original)
    with_types(tree)
    for change in changes:
        if not is_choice(change, source):
            origins.overrides[apply(tree, change)] = change.text
    keep_tasks(tree, benchmarks)
    try:
        config = checked(tree, origins)
    except Mistake as mistake:
        raise ConfigError(f"{origins.place(mistake.path)}{mistake}") from None
    return Loaded(config, source.path, tuple(renamed.notes))


def is_choice(change: Override, source: Source) -> bool:
    """Whether an override chooses a group file: `deployment=vllm`, `~deployment`."""
    plain = change.value is None or isinstance(change.value, str)
    return len(change.path) == 1 and plain and is_group(change.path[0], source)


def group_choice(change: Override) -> str | None:
    """The chosen file's name; None for none at all."""
    return change.value if isinstance(change.value, str) else None


def with_types(tree: dict[str, Any]) -> None:
    """A config that does not say so runs on this machine and deploys nothing."""
    for name, usual in (("execution", "local"), ("deployment", "none")):
        if tree.get(name) is None:
            tree[name] = {}
        section = tree[name]
        if isinstance(section, dict) and (name == "execution" or not section):
            section.setdefault("type", usual)


def checked(tree: dict[str, Any], origins: Origins) -> EvaluationConfig:
    """The tree as a config; raises Mistake or ConfigError for the first thing wrong with it."""
    try:
        resolve_interpolations(tree, origins.original)
    except Unresolved as error:
        raise Mistake(error.path, str(error)) from None
    missing = first_missing(tree)
    if missing is not None:
        key = dotted(missing)
        raise Mistake(
            missing,
            f"{key} is ???; give it a value in the file or with -o {key.replace('[', '.').replace(']', '')}=VALUE",
        )
    tree["base_dir"] = tree.get("base_dir") or str(Path.cwd())
    config = validated(tree)
    check_harness_configs(config)
    check_url(config)
    check_keys(config, os.environ)
    check_benchmarks(config)
    return config


def check_url(config: EvaluationConfig) -> None:
    """Raise Mistake for a URL that is none."""
    url, key = config.target.api_endpoint.url, ("target", "api_endpoint", "url")
    if url is not None and not is_url(url):
        raise Mistake(key, f"{dotted(key)}: {url!r} {NO_URL}")


def check_keys(config: EvaluationConfig, environment: Mapping[str, str]) -> None:
    """Raise Mistake for an API key whose variable is neither set nor declared."""
    declared = [config.env_vars, config.execution.env_vars, config.evaluation.env_vars]
    declared += [task.env_vars for task in config.evaluation.tasks]
    target = ("target", "api_endpoint")
    named: list[tuple[KeyPath, Any]] = [(target, config.target.api_endpoint.api_key_name)]
    named += [((*place, *target), at(document, (*target, "api_key_name"))) for place, document in documents(config)]
    for place, name in named:
        if name and not any(name in section for section in declared) and name not in environment:
            key = (*place, "api_key_name")
            raise Mistake(key, f"{dotted(key)}: the environment variable {name} is not set; export it before you run")


def check_benchmarks(config: EvaluationConfig) -> None:
    """Raise Mistake for a benchmark that does not exist or is not trusted."""
    catalog = load_catalog(config.mapping_path)
    for index, task in enumerate(config.evaluation.tasks):
        try:
            catalog.check(task.name, own=task.software, trusted=config.evaluation.trust_unlisted)
        except ConfigError as error:
            raise Mistake(("evaluation", "tasks", index, "name"), str(error)) from None
