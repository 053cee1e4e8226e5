"""Processes of ours on this machine, whoever started them, and their end."""

from collections.abc import Collection
from datetime import UTC, datetime

import psutil

from proctor.blocks.process import processes
from proctor.blocks.stages import GRACE_SECONDS
from proctor.blocks.stray import Stray

EVALUATION = "PROCTOR_EVALUATION"


def find() -> list[Stray]:
    """One for each step that has living processes; other users' processes are not seen."""
    found: dict[str, Stray] = {}
    for process in psutil.process_iter():
        try:
            variables = process.environ()
            since = datetime.fromtimestamp(process.create_time(), UTC)
        except psutil.Error:
            continue
        marker, evaluation = variables.get(processes.MARKER), variables.get(EVALUATION)
        if marker and evaluation and process.pid not in own():
            found.setdefault(marker, Stray(evaluation, f"processes of {marker.rstrip('/')}", marker, since))
    return list(found.values())


def own() -> set[int]:
    """This process and those it was started by: a harness may itself start an evaluation."""
    me = psutil.Process()
    return {me.pid, *(parent.pid for parent in me.parents())}


def remove(strays: Collection[Stray]) -> None:
    """TERM to all processes of these steps, KILL to what is left after the grace."""
    markers = [stray.native for stray in strays]
    living = [process for each in processes.marked(markers).values() for process in each]
    processes.signal_all(living, kill=False)
    psutil.wait_procs(living, timeout=GRACE_SECONDS + 3)
    processes.signal_all([process for each in processes.marked(markers).values() for process in each], kill=True)
