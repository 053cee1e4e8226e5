"""Finding and ending the processes of a step, by the marker in their environment."""

import time
from collections.abc import Collection, Mapping
from pathlib import Path

import psutil

MARKER = "PROCTOR_STEP"


def alive(claim: Path, marker: str) -> bool:
    """Whether the wrapper that made this claim is still running (and is really ours: a pid may be used again)."""
    try:
        process = psutil.Process(int((claim / "pid").read_text()))
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARKER) == marker
    except (OSError, ValueError, psutil.Error):
        return False


def marked(markers: Collection[str]) -> dict[str, list[psutil.Process]]:
    """Every living process of these steps, in one pass over the process table."""
    found: dict[str, list[psutil.Process]] = {marker: [] for marker in markers}
    for process in psutil.process_iter():
        try:
            marker = process.environ().get(MARKER)
            if marker in found and process.status() != psutil.STATUS_ZOMBIE:
                found[marker].append(process)
        except psutil.Error:
            continue
    return found


def wrapper(claim: Path, processes: Collection[psutil.Process]) -> psutil.Process | None:
    """The wrapper among a step's processes, if it still lives."""
    try:
        pid = int((claim / "pid").read_text())
    except (OSError, ValueError):
        return None
    return next((process for process in processes if process.pid == pid), None)


def end(claims: Mapping[str, Path], grace: float) -> None:
    """End all processes of these steps (marker -> claim folder): TERM to the wrappers, after `grace` seconds KILL to all.

    A wrapper forwards TERM to its harness and writes how it ended, so it gets the time for that.
    """
    found = marked(claims)
    for marker, processes in found.items():
        first = wrapper(claims[marker], processes)
        signal_all([first] if first else processes, kill=False)
    psutil.wait_procs([process for processes in found.values() for process in processes], timeout=grace)
    deadline = time.monotonic() + 5
    while left := [process for processes in marked(claims).values() for process in processes]:
        signal_all(left, kill=True)
        psutil.wait_procs(left, timeout=1)
        if time.monotonic() > deadline:
            return


def signal_all(processes: Collection[psutil.Process], *, kill: bool) -> None:
    """TERM or KILL to each; one that is gone already is fine."""
    for process in processes:
        try:
            process.kill() if kill else process.terminate()
        except psutil.NoSuchProcess:
            continue
