"""This machine's own stack: a Prefect server on SQLite and a worker in the background, brought up once for all commands."""

import hashlib
import os
import socket
import sys
import time
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import proctor.flows
from proctor.cli import services, with_prefect
from proctor.cli.address import Address, here
from proctor.cli.errors import CommandError
from proctor.cli.home import Record, forget_record, home, limit_file, locked, log_file, read_record, write_record
from proctor.cli.inheritance import inherited

POOL = "proctor"
"""The work pool of our deployments."""
FIRST_PORT = 4200
SERVER_SECONDS = 180.0
"""How long a server may take to answer: 5 s warm, 25 s with a new database on a busy machine."""
LIMIT = 20
"""Evaluations that a worker runs at a time, each a process of about 150 MB; more wait their turn."""
SOURCE = "this machine's stack"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stack:
    """The server to use, and whether it is this machine's own."""

    address: Address
    own: bool


def ensure(say: Say, named: Collection[str] = ()) -> Stack:
    """The server that this shell names; without one, this machine's own, brought up first where needed.

    `named` are variables of the caller's for its worker, which is started again to get them. Safe when two commands do it
    at once. Raises CommandError with the last log lines of what did not start.
    """
    address, server = here(), read_record("server")
    if address and not is_ours(address, server):
        return Stack(address, own=False)
    if running() and not named:
        return own_stack()
    with locked():
        if named or not running():
            bring_up(say, named)
    return own_stack()


def is_ours(address: Address, server: Record | None) -> bool:
    """Whether an address means this machine's own server: it serves there, or did and nobody else does now."""
    if server is None or server.url != address.url:
        return False
    return services.alive(server) or not answers(address.url)


def own_stack() -> Stack:
    """This machine's stack, as its record says."""
    server = read_record("server")
    if server is None:
        raise CommandError(f"the record of the server in {home()} is gone; run proctor up again")
    return Stack(Address(server.url, SOURCE), own=True)


def running() -> bool:
    """Whether server and worker live, are of this version, and the server answers."""
    server, worker = read_record("server"), read_record("worker")
    if not (server and worker and worker.url == server.url and worker.version == version()):
        return False
    return services.alive(server) and services.alive(worker) and answers(server.url)


def workers_environment() -> Mapping[str, str]:
    """The variables of whoever runs evaluations on this machine: of its worker, or of this shell, which would start one."""
    return services.environment_of(read_record("worker")) or os.environ


def bring_up(say: Say, named: Collection[str]) -> None:
    """Start what does not run, put our deployments into the server, and mend what an earlier end left behind."""
    server = read_record("server")
    if server is None or not services.alive(server):
        say("starting the Prefect server of this machine (a few seconds)")
        server = start_server(server)
    with_prefect.meant_for(environment(server.url))
    wait_for_server(server)
    worker = read_record("worker")
    if named or worker is None or worker.version != version() or worker.url != server.url or not services.alive(worker):
        services.end(worker, 10)
        forget_record("worker")
        say("setting up work pool, deployments and automations, starting the worker")
        with_prefect.set_up(say, own=True)
        mine = environment(server.url, named)
        started = services.start("worker", worker_command(limit()), mine, server.url, version())
        write_record("worker", started)


def start_server(last: Record | None) -> Record:
    """Start a server, at the address of the last one where that is free."""
    with listening([urlsplit(last.url).port or FIRST_PORT] if last else [FIRST_PORT]) as ours:
        url = f"http://127.0.0.1:{port_of(ours)}/api"
        command = [sys.executable, "-m", "proctor.flows.server", str(port_of(ours)), str(ours.fileno())]
        record = services.start("server", command, environment(url), url, version(), handed=[ours.fileno()])
    write_record("server", record)
    return record


def wait_for_server(record: Record) -> None:
    """Return once it answers. Raises CommandError when it ends or stays silent."""
    deadline = time.monotonic() + SERVER_SECONDS
    while not answers(record.url):
        if not services.alive(record):
            failed("server", "the Prefect server did not start")
        if time.monotonic() > deadline:
            failed("server", f"the Prefect server did not answer within {SERVER_SECONDS:.0f} s")
        time.sleep(0.1)


def wait_for_worker(online: Callable[[], bool], seconds: float = SERVER_SECONDS) -> None:
    """Return once the server has heard of the worker. Raises CommandError when it ends or stays silent."""
    deadline = time.monotonic() + seconds
    while not online():
        if not services.alive(read_record("worker")):
            failed("worker", "the worker did not start")
        if time.monotonic() > deadline:
            failed("worker", f"the worker did not report to the server within {seconds:.0f} s")
        time.sleep(0.2)


def failed(name: str, message: str) -> None:
    """Say what did not start, with the end of its log. Raises CommandError."""
    raise CommandError(f"{message}; the end of {log_file(name)}:\n{services.last_lines(name)}")


def worker_command(limit: int) -> list[str]:
    """The process worker of this machine."""
    name = f"proctor-{socket.gethostname()}"
    options = ["--pool", POOL, "--type", "process", "--name", name, "--limit", str(limit)]
    return [sys.executable, "-m", "proctor.flows.worker", *options]


def limit() -> int:
    """How many evaluations this machine's worker runs at a time."""
    try:
        return int(limit_file().read_text())
    except (OSError, ValueError):
        return LIMIT


def environment(url: str, named: Collection[str] = ()) -> dict[str, str]:
    """What server, worker and set-up see: the machine's part of the caller's environment, this server, our settings.

    `named` are further variables of the caller's.
    """
    mine = inherited(os.environ) | {name: os.environ[name] for name in named}
    fixed = {
        "PREFECT_HOME": str(home() / "prefect"),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_UI_API_URL": url,
        "PROCTOR_HOME": str(home()),
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
        "PREFECT_CLIENT_MAX_RETRIES": "10000",  # short waits: our server says when to ask again
    }
    return {**settings(), **mine, **fixed}


def settings() -> dict[str, str]:
    """The settings that Proctor was measured with."""
    return dict(flat("PREFECT", tomllib.loads(packaged("prefect.toml"))))


def flat(prefix: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The environment variables for a tree of Prefect settings."""
    for key, value in settings.items():
        name = f"{prefix}_{key.upper()}"
        if isinstance(value, Mapping):
            yield from flat(name, value)
        else:
            yield name, str(value).lower() if isinstance(value, bool) else str(value)


def packaged(name: str) -> str:
    """The text of a file that the package of our flows ships."""
    return Path(str(proctor.flows.__file__)).with_name(name).read_text()


def version() -> str:
    """What the stack was set up from: this installation with its backends, its deployments and its settings."""
    from proctor.configs.execution_schema import custom_executions  # noqa: PLC0415 (what names a server does without)

    shipped = [packaged(name) for name in ("prefect.yaml", "prefect.toml", "deployments.py")]
    text = "\n".join([sys.prefix, *shipped, str(limit()), *custom_executions()])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def listening(wanted: list[int]) -> socket.socket:
    """A socket that listens on the first of these ports that is free, else on any free one: nobody else gets it meanwhile."""
    for port in [*wanted, 0]:
        with suppress(OSError):
            return socket.create_server(("127.0.0.1", port))
    raise CommandError("this machine has no free port")


def port_of(listener: socket.socket) -> int:
    """The port that a socket is bound to."""
    return int(listener.getsockname()[1])


def answers(url: str) -> bool:
    """Whether a server is healthy, asked without the cost of importing an HTTP library."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", f"{parts.path}/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def take_down() -> list[str]:
    """End worker and server, in this order; says which of them ran."""
    with locked():
        ended = [
            name for name, patience in (("worker", 15.0), ("server", 15.0)) if services.end(read_record(name), patience)
        ]
        forget_record("worker")
    return ended
