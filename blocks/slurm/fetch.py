"""Bringing the output folder of a step home: only what changed, in one stream, verified."""

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from proctor.blocks.errors import ResultError, TransientError
from proctor.blocks.slurm import remote
from proctor.blocks.slurm.cluster import Cluster

SILENCE = 120.0
"""Seconds without a byte that mean a lost connection."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the cluster describes it."""

    size: int
    checksum: str


def fetch(cluster: Cluster, folder: str, target: Path, *, everything: bool, grows: bool = False) -> Path:
    """The files of a remote folder in `target`; files that are already the same are not sent again.

    Where somebody still writes them, as a server that `grows` its log, they are taken as they come.

    Raises ResultError when the folder is gone, TransientError when the connection ends; what came until then counts.
    """
    files, empty = listed(cluster, folder, everything)
    target.mkdir(parents=True, exist_ok=True)
    for name in empty:
        (target / name).mkdir(parents=True, exist_ok=True)
    missing = [name for name, file in files.items() if not same(target / name, file)]
    if missing:
        unpack(send(cluster, folder, missing), files, target)
    wrong = [name for name, file in files.items() if not same(target / name, file)]
    if wrong and not grows:
        raise TransientError(f"{folder}: {len(wrong)} of {len(files)} files did not come whole, {wrong[0]} among them")
    return target


def listed(cluster: Cluster, folder: str, everything: bool) -> tuple[dict[str, RemoteFile], list[str]]:
    """Every file of the folder by its name there, and its empty folders; what a login shell says before is left out."""
    answer = cluster.run(remote.SHELL, os.fsencode(remote.listing(folder, everything)), timeout=600)
    sizes, mark, rest = answer.out.partition(b"@list\0")[2].partition(b"@sums\0")
    if sizes.startswith(b"@gone\0"):
        raise ResultError(f"the output folder {folder} is gone from the cluster")
    sums, end, empty = rest.partition(b"@dirs\0")
    if answer.code or not mark or not end:
        raise TransientError(f"{folder} cannot be listed: {answer.err.strip()}")
    checksums = {name: digest for digest, _, name in split(sums, "  ")}
    found = {name: RemoteFile(int(size), checksums.get(name, "")) for size, _, name in split(sizes, " ")}
    files = {name.removeprefix("./"): file for name, file in found.items() if file.checksum}
    return files, [os.fsdecode(name).removeprefix("./") for name in empty.split(b"\0") if name]


def split(data: bytes, separator: str) -> Iterator[tuple[str, str, str]]:
    """The records of a NUL-separated list, cut in two."""
    for record in data.split(b"\0"):
        if record:
            yield os.fsdecode(record).partition(separator)


def same(path: Path, file: RemoteFile) -> bool:
    """Whether a file here is the one there."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size != file.size:
        return False
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest() == file.checksum


def send(cluster: Cluster, folder: str, names: list[str]) -> Iterator[bytes]:
    """The archive of these files, as it comes, without what a login shell says before."""
    head: bytes | None = b""
    for chunk in cluster.stream(remote.SHELL, os.fsencode(remote.archive(folder, names)), silence=SILENCE):
        if head is None:
            yield chunk
            continue
        head += chunk
        _, mark, first = head.partition(remote.ARCHIVE_MARK)
        if mark:
            head = None
        if first:
            yield first


def unpack(chunks: Iterator[bytes], files: Mapping[str, RemoteFile], target: Path) -> None:
    """Write each file of an archive whole as soon as it is here; nothing but what was asked for."""
    try:
        with tarfile.open(fileobj=Stream(chunks), mode="r|gz") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isreg() and member.name in files else None
                if content is not None:
                    write(content, target / member.name)
    except (tarfile.TarError, EOFError) as error:
        raise TransientError(f"the archive ended too early: {error}") from error


def write(content: IO[bytes], place: Path) -> None:
    """A file with this content, whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{place.name[:200]}.part")
    with part.open("wb") as written:
        while block := content.read(1 << 20):
            written.write(block)
    part.replace(place)


class Stream(io.RawIOBase):
    """Chunks as a file that can be read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks = chunks
        self.rest = b""

    def readable(self) -> bool:
        """It can."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes, exactly `size` of them but at the end."""
        parts, left = [], size if size >= 0 else 1 << 62
        while left > 0:
            self.rest = self.rest or next(self.chunks, b"")
            if not self.rest:
                break
            parts.append(self.rest[:left])
            self.rest = self.rest[left:]
            left -= len(parts[-1])
        return b"".join(parts)
