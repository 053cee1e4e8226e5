"""What a command that acts says in the end: sentences for people, or with --json one document for programs."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Answer:
    """One of two ways to say the same; stdout holds nothing else."""

    as_json: bool

    def give(self, document: Mapping[str, Any] | Sequence[Any], *sentences: str) -> None:
        """Say what was done."""
        if self.as_json:
            click.echo(json.dumps(document, indent=1))
            return
        for sentence in sentences:
            click.echo(sentence)

    def remark(self, sentence: str) -> None:
        """Something on the way: on stdout for people, on stderr where stdout is a program's."""
        click.echo(sentence, err=self.as_json)


def json_option(command: Command) -> Command:
    """Adds --json to a command, which gets its Answer as `answer`."""
    return click.option(
        "--json",
        "answer",
        is_flag=True,
        help="One JSON document instead of sentences.",
        callback=lambda _context, _parameter, value: Answer(as_json=value),
    )(command)
