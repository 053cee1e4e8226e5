"""What the engine says about containers, as the second witness; pure."""

import re
from collections.abc import Mapping
from typing import Any

from proctor.blocks.docker.render import IMAGE_LABEL, STEP_LABEL
from proctor.blocks.job import JobState, ServerStatus
from proctor.blocks.stage_files import ALIVE, GONE, Seen

LIVING = {"created", "running", "restarting", "paused", "removing"}


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


def killed(entry: Mapping[str, Any] | None) -> bool:
    """Whether a container was killed, so that it is worth asking the engine why."""
    return entry is not None and exit_code(entry) == 137


def out_of_memory(inspection: Mapping[str, Any]) -> str:
    """The reason when the kernel killed a container for its memory, else nothing."""
    if not inspection["State"].get("OOMKilled"):
        return ""
    limit = inspection["HostConfig"].get("Memory") or 0
    return "out of memory" + (f" (limit {limit / 2**30:.3g} GiB)" if limit else "")


def server_status(entry: Mapping[str, Any] | None, log_tail: str, *, answered: bool) -> ServerStatus:
    """How a server container is doing; FAILED once it has ended by itself."""
    if entry is None:
        return ServerStatus(JobState.UNKNOWN, "its container is gone")
    if entry.get("State") not in LIVING:
        code = exit_code(entry)
        return ServerStatus(JobState.FAILED, f"the server ended with exit code {code}", log_tail)
    return ServerStatus(JobState.RUNNING if answered else JobState.PENDING, "answers" if answered else "loading")


def digests(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The digest of the image that each step (or the server) really runs."""
    return {
        step: str(entry["Labels"][IMAGE_LABEL]) for step, entry in entries.items() if IMAGE_LABEL in entry["Labels"]
    }


def image_digest(inspection: Mapping[str, Any]) -> str:
    """The repository digest of an image, or its id where it came from no registry."""
    found = inspection.get("RepoDigests") or []
    return str(found[0]) if found else str(inspection["Id"])
