"""Checks of this machine's folders: may we write there, is there room, do mounted folders exist."""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from proctor.blocks.finding import GIB, Finding, ok, problem, warning
from proctor.blocks.job import JobSpec

LITTLE = 5 * GIB
TOO_LITTLE = GIB // 4


def check_folders(output_dir: str, mounts: Iterable[str]) -> Iterator[Finding]:
    """The output folder and the sources of mounts; cheap enough for every `proctor run`."""
    place = nearest(Path(output_dir))
    if not os.access(place, os.W_OK | os.X_OK):
        yield problem(
            f"you may not write into {place}, where execution.output_dir would be", "choose another output_dir"
        )
    else:
        yield check_room(place, "results")
    missing = [source for source in dict.fromkeys(mounts) if source.startswith("/") and not Path(source).exists()]
    for source in missing:
        yield problem(f"the mounted folder {source} does not exist", "correct the mount, or create the folder")
    if mounts and not missing:
        yield ok("every mounted folder exists")


def check_room(place: Path, purpose: str) -> Finding:
    """Whether a file system has room."""
    free = shutil.disk_usage(place).free
    words = f"{free / GIB:.1f} GiB are free for {purpose} in {place}"
    if free < TOO_LITTLE:
        return problem(f"only {words}", "make room, or choose another folder")
    return warning(f"only {words}", "images and caches may need more: make room") if free < LITTLE else ok(words)


def nearest(path: Path) -> Path:
    """The folder itself, or the first above it that exists."""
    absolute = path.expanduser().absolute()
    return next(each for each in (absolute, *absolute.parents) if each.exists())


def mount_sources(jobs: Sequence[JobSpec]) -> list[str]:
    """What the containers of these jobs mount from this machine."""
    containers = [step.container for job in jobs for step in job.steps]
    containers += [job.server.container for job in jobs if job.server]
    return [mount.source for container in containers for mount in container.mounts]
