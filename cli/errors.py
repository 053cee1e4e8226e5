"""What a command cannot do, in one sentence for the user."""

from typing import IO, Any

import click


class CommandError(click.ClickException):
    """A command ends here: its sentence goes to stderr, its exit code to the shell."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the sentence as every other error of ours."""
        click.echo(f"proctor: {self.message}", err=True)


class MistakeError(CommandError):
    """The user's mistake: nothing was done."""

    exit_code = 2
