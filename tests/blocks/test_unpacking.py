"""Archives on a Python that has no filters for them yet, as Debian 12's: the same as where it has."""

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from proctor.blocks.unpacking import extract, harmless


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o666) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.uid, info.gid, info.uname = kind, link, mode, 12345, 12345, "nobody"
    return info


def unpacked(folder: Path, *members: tarfile.TarInfo, filtered: bool) -> None:
    """Pack these members, and unpack them by Python's filter or by ours."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for each in members:
            each.size = 5 if each.isreg() else 0
            archive.addfile(each, io.BytesIO(b"hello"))
    packed.seek(0)
    folder.mkdir(exist_ok=True)
    with tarfile.open(fileobj=packed) as archive:
        for each in archive:
            if filtered:
                extract(archive, each, folder)
            else:
                archive.extract(harmless(each, folder.resolve()), folder, **NO_FILTER)


NO_FILTER: dict[str, Any] = {"filter": "fully_trusted"} if hasattr(tarfile, "data_filter") else {}


@pytest.mark.parametrize("filtered", [True, False])
def test_files_and_links_come_out_as_ours(tmp_path: Path, filtered: bool) -> None:
    folder = tmp_path / "there"
    members = [
        member("sub", tarfile.DIRTYPE, mode=0o777),
        member("sub/file"),
        member("run", mode=0o4777),
        member("link", tarfile.SYMTYPE, "sub/file"),
    ]
    unpacked(folder, *members, filtered=filtered)
    assert (folder / "link").read_text() == "hello"
    assert oct((folder / "sub/file").stat().st_mode & 0o7777) == "0o644"
    assert oct((folder / "run").stat().st_mode & 0o7777) == "0o755"
    assert oct((folder / "sub").stat().st_mode & 0o7777) == "0o755"
    assert {path.lstat().st_uid for path in folder.rglob("*")} == {os.getuid()}


@pytest.mark.parametrize("filtered", [True, False])
@pytest.mark.parametrize(
    "members",
    [
        [member("../out")],
        [member("link", tarfile.SYMTYPE, "/etc/passwd")],
        [member("link", tarfile.SYMTYPE, "../../out")],
        [member("hard", tarfile.LNKTYPE, "../out")],
        [member("door", tarfile.FIFOTYPE)],
    ],
    ids=["above", "absolute link", "link above", "hard link above", "pipe"],
)
def test_what_leaves_the_folder_is_refused(tmp_path: Path, members: list[tarfile.TarInfo], filtered: bool) -> None:
    (tmp_path / "out").write_text("theirs")
    with pytest.raises(tarfile.TarError):
        unpacked(tmp_path / "there", *members, filtered=filtered)
    assert (tmp_path / "out").read_text() == "theirs"
