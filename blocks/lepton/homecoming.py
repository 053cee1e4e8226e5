"""How the output of an ended benchmark comes home: a shared volume, an object store, or the lines of its log."""

import base64
import binascii
import hashlib
import io
import os
import re
import shutil
import tarfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from proctor.blocks.errors import ResultError, TransientError
from proctor.blocks.job import JobHandle, JobSpec, Step
from proctor.blocks.job_files import step_files
from proctor.blocks.lepton.shares import share_of
from proctor.blocks.lepton.workspace import EARLIER, SeenJob, Workspace
from proctor.blocks.unpacking import extract
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import LeptonExecution, LeptonResults
from proctor.configs.host_env import host_value
from proctor.configs.lepton_login import S3

MANIFEST_SECONDS = 10.0
"""How long a volume may take to show the job's list of its files, which is written after its last word."""
UPLOAD_SECONDS = 7 * 86400
"""How long an upload address is good for: the most that S3 allows."""
SIGNERS: dict[str, dict[str, str]] = {
    "s3": {"client_method": "put_object"},
    "s3a": {"client_method": "put_object"},
    "gs": {"method": "PUT"},
    "gcs": {"method": "PUT"},
}
"""How the object stores that can sign an upload are asked for it, by the scheme of their URLs."""
PART = re.compile(r"@proctor-part (\S+) (\d+)/(\d+) (\S+)")
SUM_MARK = "@proctor-sum"
SUM = re.compile(rf"{SUM_MARK} (\S+) (\d+) ([0-9a-f]{{64}})")
HIDDEN = "@proctor-"
"""Begins the lines of a log that are not for a person."""


def check(execution: LeptonExecution) -> None:
    """Raise ConfigError when results could not come home as the section says; before anything is submitted."""
    results = execution.results
    if results.via == "mount":
        if not results.volume:
            raise ConfigError("execution.results.volume is missing; name the volume, for instance node-nfs:shared")
        if not Path(execution.output_dir).expanduser().is_absolute():
            raise ConfigError(
                f"execution.output_dir: {execution.output_dir!r} must be the absolute folder where this machine sees "
                f"{results.path} of {results.volume}, so that results come home through it"
            )
    elif results.via == "object":
        check_store(results)


def check_store(results: LeptonResults) -> None:
    """Raise ConfigError for an object store that cannot be used."""
    if not results.url:
        raise ConfigError("execution.results.url is missing; name a folder such as s3://BUCKET/evaluations")
    scheme = results.url.partition("://")[0]
    if scheme not in SIGNERS:
        raise ConfigError(
            f"execution.results.url: {scheme}:// cannot sign an upload for a job; use s3:// or gs://, or via: mount"
        )
    store(results)


def store(results: LeptonResults) -> tuple[Any, str]:
    """The fsspec file system behind the URL, and the path in it. Raises ConfigError when its driver is missing."""
    from fsspec.core import url_to_fs  # noqa: PLC0415 (comes with prefect; only where it is used)

    try:
        found: tuple[Any, str] = url_to_fs(results.url, **{**credentials(str(results.url)), **results.options})
        return found
    except ImportError as error:
        raise ConfigError(f"execution.results.url: {error}") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"execution.results: {results.url!r} cannot be used: {error}") from error


def credentials(url: str) -> dict[str, str]:
    """What the usual variables say about an S3 store; those handed over for the evaluation count before our own."""
    if not url.startswith(("s3://", "s3a://")):
        return {}
    return {option: value for name, option in S3.items() if (value := host_value(name, os.environ))}


def archive_path(root: str, job: JobSpec | JobHandle, step: str) -> str:
    """Where the packed output of a step lies in the store."""
    below = job.output_dir.rstrip("/").rpartition("/")[2]
    return f"{root.rstrip('/')}/{below}/{step}/{job.name}.tar.gz"


def upload_address(execution: LeptonExecution, job: JobSpec, step: Step) -> str:
    """An address at which this step's job, and nobody else, may leave its results. Raises ConfigError."""
    results = execution.results
    check_store(results)
    files, root = store(results)
    how = SIGNERS[str(results.url).partition("://")[0]]
    problem = "there are no credentials"
    try:
        address = str(files.sign(archive_path(root, job, step.name), expiration=UPLOAD_SECONDS, **how))
        if "Signature=" in address:
            return address
    except Exception as error:  # noqa: BLE001 (every driver has errors of its own)
        problem = f"{type(error).__name__}: {error}"
    raise ConfigError(f"execution.results.url: no upload to {results.url} can be signed here ({problem})")


def bring_home(workspace: Workspace, handle: JobHandle, step: str, job: SeenJob) -> None:
    """Put the output of an ended job into its folder on this machine, whole; again does no harm.

    Raises ResultError when it is not to be had (yet), and TransientError when it could not be asked for.
    """
    results = workspace.execution.results
    if results.via == "mount":
        return
    packed = from_store(results, handle, step) if results.via == "object" else None
    mark = share_of(handle, step, workspace.execution).mark(step)
    arrive(packed or from_log(workspace, job, mark), handle, step)


def from_store(results: LeptonResults, handle: JobHandle, step: str) -> bytes | None:
    """The archive from the object store; None while it is not there."""
    with store_trouble(results, step):
        files, root = store(results)
        try:
            return bytes(files.cat_file(archive_path(root, handle, step)))
        except FileNotFoundError:
            return None


def in_store(results: LeptonResults, handle: JobHandle, step: str) -> bool:
    """Whether the archive is in the object store."""
    with store_trouble(results, step):
        files, root = store(results)
        return bool(files.exists(archive_path(root, handle, step)))


@contextmanager
def store_trouble(results: LeptonResults, step: str) -> Iterator[None]:
    """Let an object store's errors speak as a TransientError of ours."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 (every driver has errors of its own)
        raise TransientError(f"{step}: {results.url} cannot be read ({type(error).__name__})") from None


def from_log(workspace: Workspace, job: SeenJob, mark: str) -> bytes:
    """The archive from the lines of the job's log that bear a mark. Raises ResultError while they are not all there."""
    return assembled(mark, (text for _, text in workspace.log("job", job.id, beginning(job))))


def beginning(job: SeenJob) -> float:
    """From when the log of a job is read."""
    return (job.created or time.time() - 7 * 86400) - EARLIER


def assembled(key: str, lines: Iterable[str]) -> bytes:
    """The bytes that lines of a log spell, in whatever order they arrive. Raises ResultError when some are missing."""
    parts: dict[int, str] = {}
    total, digest = 0, ""
    for line in lines:
        if (part := PART.search(line)) and part[1] == key:
            parts[int(part[2])] = part[4]
        elif (last := SUM.search(line)) and last[1] == key:
            total, digest = int(last[2]), last[3]
    if not digest:
        raise ResultError(f"{key}: its log does not hold its results (yet)")
    missing = [number for number in range(1, total + 1) if number not in parts]
    if missing:
        raise ResultError(f"{key}: {len(missing)} of {total} lines with its results are missing in its log")
    try:
        packed = base64.b64decode("".join(parts[number] for number in range(1, total + 1)))
    except binascii.Error:
        raise ResultError(f"{key}: the results in its log are damaged: a line of them is cut") from None
    if hashlib.sha256(packed).hexdigest() != digest:
        raise ResultError(f"{key}: the results in its log are damaged: their checksum does not fit")
    return packed


def arrive(packed: bytes, handle: JobHandle, step: str) -> None:
    """Put the files of an archive into the step's folder once all are proved whole, its last word last of all.

    Whoever dies in between leaves a step without a last word, which is brought home again. Raises ResultError.
    """
    beside = Path(handle.output_dir) / ".proctor" / f"{handle.name}.{step}.{os.getpid()}"
    folder = step_files(handle, step).folder
    try:
        unpack(packed, beside)
        verify(beside, handle.name)
        move_in(beside, folder)
    except OSError as error:
        raise ResultError(f"{step}: its results cannot be put into {folder}: {error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def move_in(beside: Path, folder: Path) -> None:
    """Move everything below one folder into another, over what is there."""
    last = beside / "stage.exit"
    for path in sorted(beside.rglob("*"), key=lambda each: (each == last, each)):
        target = folder / path.relative_to(beside)
        if path.is_dir() and not path.is_symlink():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)


def unpack(packed: bytes, folder: Path) -> None:
    """The files of an archive in a folder. Raises ResultError for one that is damaged or reaches out of it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
            for member in archive:
                extract(archive, member, folder)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ResultError(f"{folder.name}: its packed results cannot be unpacked: {error}") from error


def verify(folder: Path, job: str) -> None:
    """Raise ResultError unless every file of the job's own list is there with its checksum."""
    listed = folder / ".proctor" / f"{job}.sha256"
    if not listed.exists():
        return
    for line in listed.read_text(errors="surrogateescape").splitlines():
        digest, name = entry_of(line)
        path = folder / name
        if not path.is_file() or sha256(path) != digest:
            raise ResultError(f"{folder.name}: {name} is missing or damaged, so the results are not whole")


def entry_of(line: str) -> tuple[str, str]:
    """Checksum and name in a line of sha256sum, which marks a name with a backslash or a newline in it."""
    digest, _, name = line.partition("  ")
    if not digest.startswith("\\"):
        return digest, name
    return digest[1:], re.sub(r"\\(.)", lambda match: {"n": "\n", "r": "\r"}.get(match[1], match[1]), name)


def sha256(path: Path) -> str:
    """The checksum of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_patiently(handle: JobHandle, step: str) -> None:
    """The same on a volume, which may show a file late. A job that never began there has written no list."""
    files, deadline = step_files(handle, step), time.monotonic() + MANIFEST_SECONDS
    listed = files.folder / ".proctor" / f"{handle.name}.sha256"
    while files.claim.is_dir():
        try:
            verify(files.folder, handle.name)
            if listed.exists() or time.monotonic() > deadline:
                return
        except ResultError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)
