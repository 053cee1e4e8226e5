"""The packed results of a benchmark as its job prints them, made by hand."""

import base64
import hashlib
import io
import tarfile

from proctor.blocks.job import JobHandle


def lines(packed: bytes, key: str = "job-0", width: int = 1000) -> list[str]:
    """What a job prints."""
    text = base64.b64encode(packed).decode()
    parts = [text[at : at + width] for at in range(0, len(text), width)]
    found = [f"@proctor-part {key} {number}/{len(parts)} {part}" for number, part in enumerate(parts, 1)]
    return [*found, f"@proctor-sum {key} {len(parts)} {hashlib.sha256(packed).hexdigest()}"]


def packed(handle: JobHandle, code: int = 0, **listed: str) -> bytes:
    """The archive of a step that ended so; `listed` are checksums that its list has instead of the true ones."""
    files = {
        "stage.exit": f"2026-01-01T00:00:00Z {code} {handle.name} \n",
        "results.yml": "results: {}\n",
        "harness.log": "hello\n",
    }
    sums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()} | listed
    files[f".proctor/{handle.name}.sha256"] = "".join(f"{digest}  ./{name}\n" for name, digest in sums.items())
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return into.getvalue()
