"""Background processes of this machine's stack: start, recognise, end."""

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

import psutil

from proctor.cli.home import Record, home, log_file

CLOCK_SLACK = 2.0
"""Seconds by which a process's start time may seem to move when the clock of the machine is set."""


def start(
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    url: str,
    version: str,
    handed: Sequence[int] = (),
) -> Record:
    """Start a process in a session of its own, so that no Ctrl-C reaches it, with its output in `<name>.log`.

    It inherits the descriptors in `handed`, and no other.
    """
    with log_file(name).open("ab") as log:
        log_file(name).chmod(0o600)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(environment),
            cwd=home(),
            umask=0o077,
            pass_fds=handed,
            start_new_session=True,
        )
    return Record(process.pid, psutil.Process(process.pid).create_time(), url, version)


def process_of(record: Record | None) -> psutil.Process | None:
    """The living process of a record; None when it ended, also when another one has its pid now."""
    if record is None:
        return None
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(record.pid)
        same = abs(process.create_time() - record.created) < CLOCK_SLACK
        if same and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def alive(record: Record | None) -> bool:
    """Whether the process of a record lives."""
    return process_of(record) is not None


def environment_of(record: Record | None) -> dict[str, str] | None:
    """The variables that the process of a record was started with; None when it ended, or is another user's."""
    with suppress(psutil.Error):
        process = process_of(record)
        return process.environ() if process else None
    return None


def engines(worker: psutil.Process) -> list[psutil.Process]:
    """The processes that a worker runs flows in, but never a job that one of them started."""
    return [process for process in worker.children(recursive=True) if is_engine(process)]


def is_engine(process: psutil.Process) -> bool:
    """Whether a process drives a flow run: it knows which, and runs a module that does."""
    with suppress(psutil.Error):
        return "PREFECT__FLOW_RUN_ID" in process.environ() and any(
            "prefect" in part or part == "proctor.flows.engine" for part in process.cmdline()[:4]
        )
    return False


def end(record: Record | None, patience: float) -> bool:
    """TERM to the process of a record, KILL after `patience` seconds, also to the engines it leaves behind.

    Says whether there was one.
    """
    process = process_of(record)
    if process is None:
        return False
    family = [process, *engines(process)]
    with suppress(psutil.NoSuchProcess):
        process.terminate()
    _, stubborn = psutil.wait_procs(family, timeout=patience)
    for each in stubborn:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(stubborn, timeout=5)
    return True


def last_lines(name: str, count: int = 15) -> str:
    """The end of a background process's log."""
    try:
        return "\n".join(log_file(name).read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return ""
