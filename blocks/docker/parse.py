"""What the engine says about containers, as the second witness; pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from proctor.blocks.docker.request import IMAGE_LABEL, STEP_LABEL
from proctor.blocks.job import JobState, ServerStatus, StepStatus
from proctor.blocks.stage_files import ALIVE, GONE, LOST, Seen, Stage, after_server_death
from proctor.blocks.stages import EXIT_INTERRUPTED, EXIT_NO_RESULTS, EXIT_TIMEOUT, EXIT_UNAVAILABLE

LIVING = {"created", "configured", "running", "stopping", "restarting", "paused", "removing"}
"""States of a container that has not ended, in the words of Docker and of Podman."""
FROM_OUTSIDE = {None, 0, 130, 137, EXIT_INTERRUPTED, 255}
"""Exit codes of a server that somebody else ended: signals, an engine that restarted (255), a clean end that nobody asked for."""
OWN_WORDS = {EXIT_INTERRUPTED, EXIT_NO_RESULTS, EXIT_TIMEOUT, EXIT_UNAVAILABLE}
"""Exit codes of the wrapper, which said why."""


def by_step(listing: list[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The entries of a `/containers/json` answer, by the step they carry as a label."""
    return {str(entry["Labels"].get(STEP_LABEL)): entry for entry in listing}


def exit_code(entry: Mapping[str, Any]) -> int | None:
    """The exit code in an entry's status, `Exited (3) 2 minutes ago`."""
    match = re.match(r"Exited \((-?\d+)\)", str(entry.get("Status", "")))
    return int(match.group(1)) if match else None


def seen(entry: Mapping[str, Any] | None, reason: str = "") -> Seen:
    """A container as the witness of its step; `reason` is what an inspection added, for instance that memory ran out."""
    if entry is None:
        return GONE
    if entry.get("State") in LIVING:
        return ALIVE
    return Seen("ended", exit_code(entry), reason)


def failed(entry: Mapping[str, Any] | None) -> bool:
    """Whether a container ended badly, so that it is worth asking the engine why."""
    return entry is not None and exit_code(entry) not in {None, 0, *OWN_WORDS}


def out_of_memory(inspection: Mapping[str, Any]) -> str:
    """The reason when the kernel killed processes of a container for its memory, else nothing."""
    if not inspection["State"].get("OOMKilled"):
        return ""
    limit = inspection["HostConfig"].get("Memory") or 0
    size = f"{limit / 2**30:.4g}g" if limit >= 2**30 else f"{limit / 2**20:.4g}m"
    return "out of memory" + (f" (limit {size})" if limit else "")


def finished(inspection: Mapping[str, Any]) -> datetime | None:
    """When a container ended, to the second; None while it has not."""
    text = str(inspection["State"].get("FinishedAt") or "")[:19]
    return None if text[:4] in {"", "0001"} else datetime.fromisoformat(text).replace(tzinfo=UTC)


def server_end(entry: Mapping[str, Any] | None, reason: str, *, left: bool) -> tuple[str, str] | None:
    """Exit code (or `lost`) and words for the end of a server that nobody released; None while it lives.

    `left` says whether containers of its steps are still there, `reason` is what an inspection added.
    """
    if entry is None:
        return ("lost", "the server's container vanished") if left else None
    if entry.get("State") in LIVING:
        return None
    code = exit_code(entry)
    if reason:
        return str(code), reason
    if code in FROM_OUTSIDE:
        return "lost", f"the server was ended from outside (exit code {code})"
    return str(code), f"the server ended with exit code {code}"


def server_status(end: Stage | None, log_tail: str, *, released: bool, there: bool, answered: bool) -> ServerStatus:
    """How a server container is doing; FAILED once it has ended without being released."""
    if end is not None:
        lost = LOST if end.exit_code is None else ""
        return ServerStatus(JobState.FAILED, lost + end.words, log_tail)
    if released:
        return ServerStatus(JobState.CANCELLED, "released")
    if not there:
        return ServerStatus(JobState.UNKNOWN, "no trace of it yet")
    return ServerStatus(JobState.RUNNING if answered else JobState.PENDING, "answers" if answered else "loading")


def blame(status: StepStatus, end: Stage, server: ServerStatus) -> StepStatus:
    """A step whose server ended under it: lost with it, or failed because of it; one that ended before it stays."""
    before = status.ended and end.time and status.ended < end.time
    if before or status.state in {JobState.COMPLETED, JobState.CANCELLED}:
        return status
    if server.message.startswith(LOST) and status.state.final:
        return StepStatus(JobState.FAILED, None, server.message, status.started, status.ended)
    return after_server_death(status, server.message)


def digests(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The digest of the image that each step (or the server) really runs."""
    return {
        step: str(entry["Labels"][IMAGE_LABEL]) for step, entry in entries.items() if IMAGE_LABEL in entry["Labels"]
    }


def image_digest(inspection: Mapping[str, Any], image: str) -> str:
    """The digest of an image in the repository that it was asked for from, else its id (it came from no registry)."""
    found = [str(each) for each in inspection.get("RepoDigests") or []]
    ours = [each for each in found if image.startswith(each.partition("@")[0])]
    return next(iter([*ours, *found, str(inspection["Id"])]))
