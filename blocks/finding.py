"""What `proctor doctor` finds: one thing that was looked at, and what to do about it."""

from dataclasses import dataclass
from typing import Literal

GIB = 1 << 30
"""Bytes."""

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: how it went, in a sentence, and what to do where it did not go well."""

    level: Level
    what: str
    do: str = ""


def ok(what: str) -> Finding:
    """Nothing to do."""
    return Finding("ok", what)


def warning(what: str, do: str) -> Finding:
    """It may go wrong."""
    return Finding("warning", what, do)


def problem(what: str, do: str) -> Finding:
    """It will go wrong."""
    return Finding("problem", what, do)
