"""The field types that several sections of a config share."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from proctor.configs.errors import ConfigError


class Section(BaseModel):
    """A part of a config: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, defer_build=True)


def seconds_of(value: Any) -> Any:
    """Seconds from `HH:MM:SS`, `D-HH:MM:SS` or a number of seconds.

    YAML reads an unquoted 12:00:00 as the number 43200 (base 60), which are the same twelve hours in seconds.
    """
    if not isinstance(value, str) or value.strip().isdigit():
        return value
    match = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d{1,2})(?::(\d{1,2}))?", value.strip())
    if not match:
        raise ValueError(f"{value!r} is no duration; write HH:MM:SS, D-HH:MM:SS or a number of seconds")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


Seconds = Annotated[float, BeforeValidator(seconds_of), Field(gt=0)]
"""A duration: `HH:MM:SS`, `D-HH:MM:SS` or seconds."""

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
