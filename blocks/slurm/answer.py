"""What a command on a cluster leaves behind."""

from dataclasses import dataclass

COMMAND_TIMEOUT = 120.0
"""Seconds for one remote command."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a remote command left."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """Its standard output as text."""
        return self.out.decode(errors="replace")
