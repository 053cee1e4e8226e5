"""Jobs, endpoints and secrets of a workspace that carry our names."""

import re
from collections.abc import Collection
from datetime import UTC, datetime

from proctor.blocks.lepton.removal import is_live
from proctor.blocks.lepton.workspace import Workspace
from proctor.blocks.stray import JOB_NAME, Stray

PREFIX = "proctor-"


def find(workspace: Workspace) -> list[Stray]:
    """Everything of ours there that runs or that holds something. Raises TransientError."""
    jobs = [
        Stray(match[1], f"Lepton job {job.id}", f"job {job.id}", when(job.created))
        for job in workspace.every_job(PREFIX)
        if is_live(job) and (match := ours(job.name))
    ]
    endpoints = [
        Stray(match[1], f"Lepton endpoint {each.name}", f"endpoint {each.name}")
        for each in workspace.endpoints()
        if (match := ours(each.name)) and each.name.startswith(each.ours or PREFIX)
    ]
    secrets = [
        Stray(match[1], f"Lepton secret {name}", f"secret {name}")
        for name in sorted(workspace.secrets())
        if (match := JOB_NAME.match(name)) and name[match.end() :].startswith(".")
    ]
    return [*jobs, *endpoints, *secrets]


def ours(name: str) -> re.Match[str] | None:
    """The match of one of our job names at the start of the name of a job or an endpoint."""
    base, _, last = name.rpartition("-")
    return JOB_NAME.fullmatch(base) if last.isdigit() or last == "s" else None


def when(seconds: float) -> datetime | None:
    """A time of Lepton's."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def remove(workspace: Workspace, found: Collection[Stray]) -> None:
    """Delete these; what is gone already is fine. Raises TransientError."""
    for stray in found:
        kind, _, name = stray.native.partition(" ")
        if kind == "job":
            workspace.delete_job(name)
        elif kind == "endpoint":
            workspace.delete_endpoint(name)
        else:
            workspace.delete_secrets([name])
