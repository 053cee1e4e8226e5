"""Environment variables and mounts of a container, from the places where a config may declare them; pure."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from proctor.blocks.job import EnvSource, EnvVar, Mount
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import LocalExecution, SlurmExecution
from proctor.configs.fields import base_folder
from proctor.configs.schema import EvaluationConfig

SOURCES = ("host", "secret", "runtime", "lit")
MOUNT = re.compile(r"([^:]+):(/[^:]*)(?::(ro|rw))?")
VOLUME_MOUNT = re.compile(r"((?:node-[^:/]+:(?:[^:/]+:)?(?=/))?[^:]+):(/[^:]*)(?::(ro|rw))?")
"""On Lepton the source may begin with its volume: `node-nfs:shared:/models`."""


def env_vars(*declared: Mapping[str, str]) -> tuple[EnvVar, ...]:
    """The variables of all these sections; a later section wins."""
    values: dict[str, str] = {}
    for section in declared:
        values |= section
    return tuple(env_var(name, value) for name, value in values.items())


def env_var(name: str, value: str) -> EnvVar:
    """One declared variable; a bare value names a variable of the machine where Proctor runs."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ConfigError(f"env_vars: {name!r} is no name of an environment variable")
    source, colon, rest = value.partition(":")
    if colon and source in SOURCES:
        return EnvVar(name, cast(EnvSource, source), rest)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ConfigError(
            f"env_vars.{name}: {shown(value)} names no variable; write lit:TEXT for a value, host:NAME for one of yours"
        )
    return EnvVar(name, "host", value)


def shown(value: str) -> str:
    """A value as an error may show it: it may be a secret that was written in the wrong place."""
    return "its value" if len(value) > 3 else repr(value)


def without_containers(config: EvaluationConfig) -> bool:
    """Whether steps and servers run in environments on the machine itself, and see its folders as they are."""
    return config.execution.type == "process" or getattr(config.execution, "container_runtime", "") == "none"


def declared_mounts(config: EvaluationConfig) -> list[str]:
    """What the execution section mounts into every container."""
    execution = config.execution
    if isinstance(execution, LocalExecution):
        return execution.mounts
    return execution.container_mounts if isinstance(execution, SlurmExecution) else []


def mounts(declared: Sequence[str], config: EvaluationConfig) -> tuple[Mount, ...]:
    """Mounts from `SOURCE:TARGET[:ro|rw]`, with relative sources made absolute."""
    return tuple(mount(text, config) for text in declared)


def mount(text: str, config: EvaluationConfig) -> Mount:
    """One mount; raises ConfigError when it has another form."""
    parts = (VOLUME_MOUNT if config.execution.type == "lepton" else MOUNT).fullmatch(text)
    if not parts:
        raise ConfigError(
            f"mounts: {text!r} is no mount; write SOURCE:TARGET or SOURCE:TARGET:ro with an absolute TARGET"
        )
    return Mount(absolute(parts[1], config), parts[2], read_only=parts[3] == "ro")


def absolute(path: str, config: EvaluationConfig) -> str:
    """A path of this machine made absolute; on remote backends it stands as it is, and must be absolute there."""
    return path if config.execution.type in {"slurm", "lepton"} else local(path, config)


def local(path: str, config: EvaluationConfig) -> str:
    """A path of this machine made absolute."""
    return str((base_folder(config.base_dir) / Path(path).expanduser()).absolute())
