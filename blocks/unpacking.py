"""Files out of an archive that somebody else packed: none leaves its folder, and all belong to us."""

import copy
import os
import tarfile
from pathlib import Path


def extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """One member, below a folder. Raises TarError for one that would leave it, or is neither file, folder nor link."""
    if hasattr(tarfile, "data_filter"):
        archive.extract(member, folder, filter="data")
    else:  # Python before 3.11.4, as Debian 12 has it
        archive.extract(harmless(member, folder.resolve()), folder)


def harmless(member: tarfile.TarInfo, root: Path) -> tarfile.TarInfo:
    """What Python's own filter makes of a member where there is one: ours, and writable by nobody else."""
    place = root / member.name
    within(root, place, member)
    if member.issym():
        within(root, place.parent / member.linkname, member)
    elif member.islnk():
        within(root, root / member.linkname, member)
    elif not (member.isreg() or member.isdir()):
        raise tarfile.ExtractError(f"{member.name!r} is no file, folder or link")
    ours = copy.copy(member)
    ours.uid, ours.gid, ours.uname, ours.gname = os.getuid(), os.getgid(), "", ""
    ours.mode = 0o755 if member.isdir() else member.mode & (0o755 if member.mode & 0o100 else 0o644) | 0o600
    return ours


def within(root: Path, place: Path, member: tarfile.TarInfo) -> None:
    """Raise TarError for a place that is not below the root, whatever links lead there."""
    if not place.resolve().is_relative_to(root):
        raise tarfile.ExtractError(f"{member.name!r} would leave its folder")
