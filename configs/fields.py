"""The field types that several sections of a config share."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from proctor.configs.errors import ConfigError


class Section(BaseModel):
    """A part of a config: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, defer_build=True)


def seconds_of(value: Any) -> Any:
    """Seconds from `HH:MM:SS`, `MM:SS`, `D-HH[:MM[:SS]]` as Slurm reads them, or a number of seconds.

    YAML reads an unquoted 12:00:00 as the number 43200 (base 60), which are the same twelve hours in seconds.
    """
    if not isinstance(value, str) or value.strip().isdigit():
        return value
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)((?::\d{1,2}){0,2})", value.strip())
    if not match or not (match[1] or match[3]):
        raise ValueError(f"{value!r} is no duration; write HH:MM:SS, D-HH:MM:SS or a number of seconds")
    parts = [int(match[2]), *(int(part) for part in match[3].split(":")[1:])]
    parts = [0, *parts] if match[1] is None and len(parts) == 2 else [*parts, 0, 0][:3]
    return ((int(match[1] or 0) * 24 + parts[0]) * 60 + parts[1]) * 60 + parts[2]


Seconds = Annotated[float, BeforeValidator(seconds_of), Field(gt=0)]
"""A duration: `HH:MM:SS`, `D-HH:MM:SS` or seconds."""


def fitting(pattern: str, words: str) -> Callable[[str], str]:
    """A check that text matches a pattern; `words` say what to write instead."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} does not fit; write {words}")
        return text

    return check


SIZE = r"\d+(\.\d+)?[kKmMgGtT]?[bB]?"
GPUS = r"all|none|\d+|\"?device=[\w-]+(,[\w-]+)*\"?"
USER = r"(\d+|root)(:(\d+|root))?"

Size = Annotated[
    str,
    AfterValidator(fitting(SIZE, "a number with k, m, g or t behind it, for instance 64g")),
    WithJsonSchema({"type": "string", "pattern": f"^{SIZE}$"}),
]
"""An amount of memory as Docker takes it."""


def gpus_of(value: Any) -> Any:
    """GPUs as text; a number of them may be written as one."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Gpus = Annotated[
    str,
    BeforeValidator(gpus_of),
    AfterValidator(fitting(GPUS, "all, none, a number, or device=0,1")),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": f"^({GPUS})$"}, {"type": "integer", "minimum": 0}]}),
]
"""GPUs as `docker run --gpus` takes them, or none."""
User = Annotated[
    str,
    BeforeValidator(gpus_of),
    AfterValidator(fitting(USER, "uid or uid:gid in numbers, for instance 1000:1000")),
    WithJsonSchema({"type": "string", "pattern": f"^{USER}$"}),
]
"""A user inside of a container."""
NETWORK = r"[A-Za-z0-9][\w.-]*|container:[\w.-]+"
Network = Annotated[
    str,
    AfterValidator(fitting(NETWORK, "the name of a Docker network, for instance host or bridge")),
    WithJsonSchema({"type": "string", "pattern": f"^({NETWORK})$"}),
]
"""A network of a container engine."""
DOCKER_HOST = r"(unix|tcp|ssh|https?|npipe|fd)://.+"
DockerHost = Annotated[
    str,
    AfterValidator(
        fitting(DOCKER_HOST, "an address such as unix:///var/run/docker.sock, tcp://HOST:2376 or ssh://USER@HOST")
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{DOCKER_HOST}$"}),
]
"""Where a container engine listens."""

EnvMap = Annotated[
    dict[str, str],
    Field(
        description="Environment variables by name. A value says where it is read: `host:NAME` (where Proctor runs; a "
        "bare NAME means that), `secret:BLOCK` (a Prefect Secret block), `runtime:NAME` (where the job runs) or "
        "`lit:TEXT`."
    ),
]


def require(condition: bool, message: str) -> None:
    """Raise ConfigError with this sentence unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def base_folder(base_dir: str | None) -> Path:
    """The folder that a config's relative paths are relative to: its own, else the user's home.

    Never the current one: engines of Prefect's worker run in a folder that is removed with them.
    """
    return Path(base_dir).expanduser() if base_dir else Path.home()
