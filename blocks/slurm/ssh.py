"""One connection to each cluster: opened when it is needed, shared by everything in this process, opened again when lost."""

import getpass
import shlex
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import paramiko

from proctor.blocks.errors import RejectedError, TransientError
from proctor.blocks.slurm.answer import COMMAND_TIMEOUT, Answer
from proctor.blocks.slurm.ssh_config import Login, Place, place

CONNECT_TIMEOUT = 20.0
BROKEN_OFF = ("transport shut down", "Authentication timeout")
"""How paramiko says, as a refusal of the login, that there was no answer (`AuthHandler.wait_for_response`)."""
BROKEN_OFF_WORDS = (
    "the connection ended during the login; an sshd that is offered more keys than it allows ends it too: "
    "if this stays so, name one with execution.ssh_key_path"
)
KEEPALIVE = 15
CHANNELS = 8
"""Commands at the same time over one connection; sshd allows ten by default."""
CHUNK = 1 << 16


class Connection:
    """A paramiko connection that is there when somebody needs it. Safe to use from several threads."""

    def __init__(self, login: Login) -> None:
        self.login = login
        self.lock = threading.Lock()
        self.channels = threading.BoundedSemaphore(CHANNELS)
        self.clients: list[paramiko.SSHClient] = []
        self.opened = 0
        """How many connections were opened so far, for measurements."""
        self.commands = 0

    def run(self, command: str, stdin: bytes = b"", *, timeout: float = COMMAND_TIMEOUT) -> Answer:
        """Run a command with this input and wait for its end.

        Raises TransientError when the connection fails or the time is up: then nobody knows how far it got.
        """
        chunks: list[bytes] = []
        with self.channel(command, timeout) as channel:
            errors = Reader(channel)
            writer = threading.Thread(target=feed, args=(channel, stdin), daemon=True)
            writer.start()
            deadline = time.monotonic() + timeout
            while chunk := receive(channel, deadline):
                chunks.append(chunk)
            if not channel.status_event.wait(max(0.0, deadline - time.monotonic())) or channel.exit_status < 0:
                raise EOFError("the connection ended before the command did")
            return Answer(channel.exit_status, b"".join(chunks), errors.text())

    def stream(self, command: str, stdin: bytes = b"", *, silence: float | None = None) -> Iterator[bytes]:
        """What a command prints, as it comes; `silence` seconds without anything are a lost connection.

        Raises TransientError when the connection fails or the command ends with another code than 0.
        """
        with self.channel(command, silence) as channel:
            errors = Reader(channel)
            channel.sendall(stdin)
            channel.shutdown_write() if silence is not None else None
            while chunk := channel.recv(CHUNK):
                yield chunk
            if channel.recv_exit_status() != 0:
                raise TransientError(f"{self.login.hostname}: {errors.text().strip() or 'the connection ended'}")

    @contextmanager
    def channel(self, command: str, timeout: float | None) -> Iterator[paramiko.Channel]:
        """A channel that runs a command; what goes wrong with it is a TransientError, and ends the connection."""
        with self.channels:
            client = self.client()
            try:
                self.commands += 1
                with begin(client, command, min(CONNECT_TIMEOUT, timeout or CONNECT_TIMEOUT)) as channel:
                    channel.settimeout(timeout)
                    yield channel
            except (paramiko.SSHException, EOFError, OSError) as error:
                self.drop(client)
                raise TransientError(f"{self.login.hostname}: {words(error)}") from error

    def client(self) -> paramiko.SSHClient:
        """The live connection, opened now if there is none."""
        with self.lock:
            if self.clients and alive(self.clients[-1]):
                return self.clients[-1]
            self.clients = connect(self.login)
            self.opened += 1
            return self.clients[-1]

    def drop(self, client: paramiko.SSHClient) -> None:
        """Close a connection that failed, so that the next command opens another one."""
        with self.lock:
            closing = self.clients if client in self.clients else [client]
            self.clients = [each for each in self.clients if each not in closing]
        close_all(closing)

    def close(self) -> None:
        """Close the connection; the next command opens another one."""
        with self.lock:
            closing, self.clients = self.clients, []
        close_all(closing)


def begin(client: paramiko.SSHClient, command: str, timeout: float) -> paramiko.Channel:
    """A new channel in which the command was started within `timeout` seconds, or else the connection is closed."""
    transport = client.get_transport()
    if transport is None:
        raise EOFError("the connection is closed")
    deadline = time.monotonic() + timeout
    watchdog = threading.Timer(timeout, transport.close)
    watchdog.start()
    try:
        channel = transport.open_session(timeout=timeout)
        channel.exec_command(command)
    except (paramiko.SSHException, EOFError) as error:
        if time.monotonic() >= deadline:  # whatever the closed connection says of itself
            raise TimeoutError from error
        raise
    finally:
        watchdog.cancel()
    return channel


class Reader:
    """Reads what a command prints to standard error, so that it never blocks on it."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self.channel = channel
        self.parts: list[bytes] = []
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self) -> None:
        """Until the end."""
        with suppress(OSError, EOFError, paramiko.SSHException):
            while part := self.channel.recv_stderr(CHUNK):
                self.parts.append(part)

    def text(self) -> str:
        """Everything it printed."""
        self.thread.join(1)
        return b"".join(self.parts).decode(errors="replace")


def receive(channel: paramiko.Channel, deadline: float) -> bytes:
    """The next output; empty at the end. Raises TimeoutError at the deadline."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    channel.settimeout(left)
    return channel.recv(CHUNK)


def feed(channel: paramiko.Channel, data: bytes) -> None:
    """Send the input of a command; whoever reads its answer notices when that fails."""
    with suppress(OSError, EOFError, paramiko.SSHException):
        channel.sendall(data)
        channel.shutdown_write()


def alive(client: paramiko.SSHClient) -> bool:
    """Whether a connection is still up, as far as one can tell without asking."""
    transport = client.get_transport()
    return transport is not None and transport.is_active()


def words(error: Exception) -> str:
    """Why a connection failed, for a person."""
    if isinstance(error, TimeoutError) or "Timeout" in str(error):
        return "no answer in time"
    return str(error) or f"the connection ended ({type(error).__name__})"


def close_all(clients: list[paramiko.SSHClient]) -> None:
    """Close these connections, the last one first."""
    for client in reversed(clients):
        with suppress(Exception):
            client.close()


def connect(login: Login) -> list[paramiko.SSHClient]:
    """A new connection, last in the list behind those to the jump hosts it goes through.

    Raises RejectedError, with what to do, where another try would end the same way; else TransientError.
    """
    return open_client(login.hostname, place(login), login, 0)


def open_client(name: str, where: Place, login: Login, depth: int) -> list[paramiko.SSHClient]:
    """A connection to this place, through its proxies."""
    before: list[paramiko.SSHClient] = []
    with ExitStack() as failed:
        failed.callback(lambda: close_all(before))
        client = log_in(name, where, login, depth, before)
        failed.pop_all()
    return [*before, client]


def log_in(name: str, where: Place, login: Login, depth: int, before: list[paramiko.SSHClient]) -> paramiko.SSHClient:
    """A connection to this place; those to the jump hosts before it are added to `before`, also where it fails."""
    client, keys = paramiko.SSHClient(), paramiko.HostKeys()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    for path in where.known_hosts:
        with suppress(OSError, paramiko.SSHException):
            client.load_system_host_keys(path)
            keys.load(path)
    try:
        sock = socket_to(where, login, depth, before)
        known = where.known_as if where.port == 22 else f"[{where.known_as}]:{where.port}"
        require_known(keys, name, known, where)
        client.connect(
            where.known_as,
            where.port,
            where.user or getpass.getuser(),
            pkey=agent_key(where.keys) if where.only_keys else None,
            key_filename=list(where.keys) or None,  # type: ignore[arg-type]  # the stubs forget lists
            allow_agent=not where.only_keys,
            look_for_keys=False,
            sock=sock,
            timeout=CONNECT_TIMEOUT,
            banner_timeout=CONNECT_TIMEOUT,
            auth_timeout=CONNECT_TIMEOUT,
        )
    except paramiko.BadHostKeyException as error:
        raise RejectedError(changed_key(name, where)) from error
    except paramiko.AuthenticationException as error:
        if any(each in str(error) for each in BROKEN_OFF):
            raise TransientError(f"{name}: cannot connect: {BROKEN_OFF_WORDS}") from error
        raise RejectedError(refused(name, where)) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise TransientError(f"{name}: cannot connect: {words(error)}") from error
    transport = client.get_transport()
    if transport is not None:
        transport.set_keepalive(KEEPALIVE)
    return client


def agent_key(files: Sequence[str]) -> paramiko.PKey | None:
    """The first of these keys that an agent holds: one with a passphrase can only be used through it."""
    wanted = {words[1] for words in map(public_key, files) if len(words) > 1}
    with suppress(paramiko.SSHException, OSError):
        return next((key for key in paramiko.Agent().get_keys() if key.get_base64() in wanted), None)
    return None


def public_key(file: str) -> list[str]:
    """The words of the public key beside a private one; none where there is no such file."""
    path = Path(file)
    with suppress(OSError, UnicodeDecodeError):
        return (path if path.suffix == ".pub" else path.with_name(f"{path.name}.pub")).read_text().split()
    return []


def require_known(keys: paramiko.HostKeys, name: str, known: str, where: Place) -> None:
    """Raise RejectedError for a host whose key nobody has confirmed."""
    if keys.lookup(known) is None:
        raise RejectedError(
            f"{name}: its host key is not known; log in once with `ssh {name}`, compare the fingerprint that it shows "
            f"with the one your site publishes, and confirm it (it then stands in {listed(where)})"
        )


def changed_key(name: str, where: Place) -> str:
    """What to do about a host key that differs from the known one."""
    return (
        f"{name}: its host key is not the one in {listed(where)}, so this may be another machine; ask your site whether "
        f"the key was changed, and if it was: ssh-keygen -R '[{where.known_as}]:{where.port}' and log in once with ssh"
    )


def refused(name: str, where: Place) -> str:
    """What to do about a login that was refused."""
    keys = ", ".join(where.keys) or "the agent"
    return (
        f"{name}: the login of {where.user or 'this user'} with {keys} was refused; try `ssh {name}`, and where that asks "
        "for a password or a second factor, open a control socket and name it in execution.ssh_control_path"
    )


def listed(where: Place) -> str:
    """The known_hosts files."""
    return ", ".join(where.known_hosts) or "~/.ssh/known_hosts"


def socket_to(
    where: Place, login: Login, depth: int, before: list[paramiko.SSHClient]
) -> "socket.socket | paramiko.ProxyCommand | paramiko.Channel":
    """A connected socket, directly or through what the configuration names; adds jump hosts to `before`."""
    if where.proxy_command:
        return paramiko.ProxyCommand(shlex.join(["/bin/sh", "-c", f"exec {where.proxy_command}"]))
    if where.proxy_jump:
        before += jump_host(where, login, depth)
        return tunnel(before[-1], where)
    sock = socket.create_connection((where.hostname, where.port), timeout=CONNECT_TIMEOUT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return sock


def jump_host(where: Place, login: Login, depth: int) -> list[paramiko.SSHClient]:
    """A connection to the last jump host of the list, which is reached through the others."""
    before, _, last = (where.proxy_jump or "").rpartition(",")
    if depth > 5:
        raise RejectedError(f"{login.hostname}: ProxyJump leads in a circle")
    user, at, host = last.rpartition("@")
    host, _, port = host.partition(":")
    nearer = Login(host, user if at else None, config=login.config)
    there = place(nearer)
    there = replace(there, port=int(port) if port else there.port, proxy_jump=before or there.proxy_jump)
    return open_client(host, there, nearer, depth + 1)


def tunnel(client: paramiko.SSHClient, where: Place) -> paramiko.Channel:
    """A channel from a jump host to this place."""
    transport = client.get_transport()
    if transport is None:
        raise EOFError("the connection to the jump host ended")
    return transport.open_channel(
        "direct-tcpip", (where.hostname, where.port), ("127.0.0.1", 0), timeout=CONNECT_TIMEOUT
    )
