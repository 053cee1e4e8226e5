"""Files for an engine that does not see this machine's folders: they travel by its API, into and out of volumes.

The step's folder on this machine mirrors what is needed to judge it, so that everything else works as with a local engine.
"""

import io
import tarfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proctor.blocks.answered import COUNT, WRITTEN
from proctor.blocks.docker.request import numbers, volume
from proctor.blocks.job import JobHandle, JobSpec
from proctor.blocks.job_files import CONTAINER_JOB, CONTAINER_RESULTS, order_file, step_files
from proctor.blocks.stage_files import STAGES, read_folder
from proctor.blocks.unpacking import extract

if TYPE_CHECKING:
    from docker import DockerClient

MIRRORED = (*(f"stage.{name}" for name in STAGES), "server-models.json")


def provide(client: "DockerClient", job: JobSpec, owners: Mapping[str, str], container: str, step: str) -> None:
    """Copy a step's folder (after a first attempt with its response cache) and the order of the steps into a container.

    Its folder belongs to its owner then, the user of its container.
    """
    folder = step_files(job, step).folder
    order = order_file(job)
    client.api.put_archive(container, "/", packed({CONTAINER_RESULTS.strip("/"): folder}, owners[step]))
    client.api.put_archive(container, CONTAINER_JOB, packed({f".proctor/{order.name}": order}))


def note_cancel(
    client: "DockerClient",
    handles: Collection[JobHandle],
    there: Mapping[str, Mapping[str, Mapping[str, Any]]],
    step: str | None = None,
) -> None:
    """Leave the word that steps (or one of them) are ended on purpose, inside their containers."""
    for handle in handles:
        for name in [step] if step else handle.steps:
            note = step_files(handle, name).cancelled
            if name in there[handle.name]:
                note.parent.mkdir(parents=True, exist_ok=True)
                note.touch()
                client.api.put_archive(
                    there[handle.name][name]["Id"], CONTAINER_RESULTS, packed({f".proctor/{note.name}": note})
                )


def packed(content: Mapping[str, Path], owner: str = "0:0") -> bytes:
    """Files and folders as a tar archive in which everything belongs to one user."""
    uid, gid = numbers(owner)

    def owned(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid, member.gid, member.uname, member.gname = uid, max(gid, 0), "", ""
        return member

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, path in content.items():
            tar.add(path, name, filter=owned)
    return archive.getvalue()


def mirror(client: "DockerClient", handle: JobHandle, there: Mapping[str, Mapping[str, Any]]) -> None:
    """Bring the stage files of every step that has not ended as far as we know."""
    for name in handle.steps:
        files = step_files(handle, name)
        if name not in there or "exit" in read_folder(files.folder, handle.name):
            continue
        for wanted in MIRRORED:
            mirror_one(client, there[name]["Id"], files.folder, wanted)
        if (files.folder / "stage.running").exists():
            _ = mirror_one(client, there[name]["Id"], files.folder, COUNT) or mirror_one(
                client, there[name]["Id"], files.folder, WRITTEN
            )


def mirror_one(client: "DockerClient", container: str, folder: Path, wanted: str) -> bool:
    """Bring one small file into the step's folder here; says whether it is there."""
    content = read_one(client, container, f"{CONTAINER_RESULTS}/{wanted}")
    if content is None:
        return False
    (folder / wanted).parent.mkdir(parents=True, exist_ok=True)
    (folder / wanted).write_bytes(content)
    return True


def read_one(client: "DockerClient", container: str, path: str) -> bytes | None:
    """One small file of a container, or None when it is not there."""
    from docker.errors import NotFound  # noqa: PLC0415 (only where containers run)

    try:
        stream, _ = client.api.get_archive(container, path)
    except NotFound:
        return None
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        member = tar.extractfile(tar.getmembers()[0])
        return member.read() if member else None


def bring(client: "DockerClient", entry: Mapping[str, Any], folder: Path) -> None:
    """A step's whole output folder; members that would leave it are refused."""
    stream, _ = client.api.get_archive(entry["Id"], CONTAINER_RESULTS)
    with tarfile.open(fileobj=Chunks(stream), mode="r|") as tar:
        for member in tar:
            member.name = member.name.removeprefix(CONTAINER_RESULTS.strip("/")).lstrip("/") or "."
            extract(tar, member, folder)


class Chunks(io.RawIOBase):
    """A stream of chunks as a readable file."""

    def __init__(self, chunks: Any) -> None:
        self.chunks = iter(chunks)
        self.rest = b""

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; less only at the end."""
        while size < 0 or len(self.rest) < size:
            chunk = next(self.chunks, None)
            if chunk is None:
                break
            self.rest += chunk
        end = len(self.rest) if size < 0 else size
        data, self.rest = self.rest[:end], self.rest[end:]
        return data


def remove_volumes(client: "DockerClient", handles: Collection[JobHandle]) -> None:
    """Remove the volumes of these jobs; one that another attempt still uses stays."""
    from docker.errors import APIError  # noqa: PLC0415

    for handle in handles:
        for name in [*handle.steps, "job"]:
            try:
                client.api.remove_volume(volume(handle, name))
            except APIError as error:
                if error.response is None or error.response.status_code not in {404, 409}:
                    raise
