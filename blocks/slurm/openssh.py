"""Commands through a control socket of OpenSSH that the user opened: for clusters that ask for a second factor."""

import os
import select
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

from proctor.blocks.errors import RejectedError, TransientError
from proctor.blocks.slurm.answer import COMMAND_TIMEOUT, Answer
from proctor.blocks.slurm.ssh_config import Login

SSH_FAILED = 255


class ControlSocket:
    """The same as a Connection, through `ssh -S`; it never logs in by itself."""

    def __init__(self, login: Login) -> None:
        self.login = login
        self.path = str(Path(login.control_path or "").expanduser())
        self.commands = 0
        self.opened = 0
        self.checked = False

    def run(self, command: str, stdin: bytes = b"", *, timeout: float = COMMAND_TIMEOUT) -> Answer:
        """Run a command with this input and wait for its end.

        Raises RejectedError with the command to enter when the socket is gone, TransientError when the time is up.
        """
        self.require_master()
        self.commands += 1
        try:
            done = subprocess.run(self.argv(command), input=stdin, capture_output=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired as error:
            raise TransientError(f"{self.login.hostname}: no answer in time") from error
        text = done.stderr.decode(errors="replace")
        if done.returncode in {SSH_FAILED, -1} or done.returncode < 0:
            self.require_master()
            raise TransientError(f"{self.login.hostname}: {text.strip() or 'the connection ended'}")
        return Answer(done.returncode, done.stdout, text)

    def stream(self, command: str, stdin: bytes = b"", *, silence: float | None = None) -> Iterator[bytes]:
        """What a command prints, as it comes; `silence` seconds without anything are a lost connection."""
        self.require_master()
        self.commands += 1
        pipe = subprocess.PIPE
        with subprocess.Popen(self.argv(command), stdin=pipe, stdout=pipe, stderr=pipe) as process:
            assert process.stdin  # noqa: S101 (for the type checker)
            assert process.stdout  # noqa: S101
            assert process.stderr  # noqa: S101
            process.stdin.write(stdin)
            process.stdin.flush()
            if silence is not None:
                process.stdin.close()
            try:
                while chunk := self.read(process.stdout.fileno(), silence):
                    yield chunk
                if process.wait() != 0:
                    raise TransientError(
                        f"{self.login.hostname}: {process.stderr.read().decode(errors='replace').strip()}"
                    )
            finally:
                process.kill()

    def read(self, pipe: int, silence: float | None) -> bytes:
        """The next output; empty at the end. Raises TransientError after `silence` seconds without any."""
        if not select.select([pipe], [], [], silence)[0]:
            raise TransientError(f"{self.login.hostname}: no answer in time")
        return os.read(pipe, 1 << 16)

    def argv(self, *command: str) -> list[str]:
        """An ssh command line that goes through the socket, or nowhere: its proxy command fails."""
        user = ["-l", self.login.username] if self.login.username else []
        config = ["-F", self.login.config] if self.login.config else []
        options = ["-o", "ControlMaster=no", "-o", "BatchMode=yes", "-o", "ProxyCommand=false", "-T"]
        return ["ssh", *config, "-S", self.path, *options, *user, "--", self.login.hostname, *command]

    def require_master(self) -> None:
        """Raise RejectedError, with the exact command to enter, when nobody listens at the socket."""
        argv = self.argv()
        argv[1:1] = ["-O", "check"]
        done = subprocess.run(argv, capture_output=True, timeout=20, check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise RejectedError(
                f"execution.ssh_control_path: nobody listens at {self.path}; open the connection again with: "
                + self.recovery()
            )

    def recovery(self) -> str:
        """The command that opens the socket again."""
        config = ["-F", self.login.config] if self.login.config else []
        user = f"{self.login.username}@" if self.login.username else ""
        argv = ["ssh", *config, "-fNM", "-S", self.path, "-o", "ControlPersist=yes", f"{user}{self.login.hostname}"]
        return shlex.join(argv)

    def close(self) -> None:
        """The socket belongs to the user."""
