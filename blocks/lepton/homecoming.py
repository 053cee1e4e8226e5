"""How the output of an ended benchmark comes home: a shared volume, an object store, or the lines of its log."""

import base64
import hashlib
import io
import os
import re
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from proctor.blocks.errors import ResultError, TransientError
from proctor.blocks.job import JobHandle, JobSpec, Step
from proctor.blocks.job_files import step_files
from proctor.blocks.lepton.workspace import EARLIER, SeenJob, Workspace
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import LeptonExecution, LeptonResults
from proctor.configs.host_env import host_value
from proctor.configs.lepton_login import S3

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
SUM = re.compile(r"@proctor-sum (\S+) (\d+) ([0-9a-f]{64})")
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
    results, folder = workspace.execution.results, step_files(handle, step).folder
    if results.via == "mount":
        return
    packed = from_store(results, handle, step) if results.via == "object" else None
    unpack(packed or from_log(workspace, job), folder)
    verify(folder, handle.name)


def from_store(results: LeptonResults, handle: JobHandle, step: str) -> bytes | None:
    """The archive from the object store; None while it is not there."""
    files, root = store(results)
    try:
        return bytes(files.cat_file(archive_path(root, handle, step)))
    except FileNotFoundError:
        return None
    except Exception as error:  # noqa: BLE001 (every driver has errors of its own)
        raise TransientError(f"{step}: {results.url} cannot be read ({type(error).__name__})") from None


def from_log(workspace: Workspace, job: SeenJob) -> bytes:
    """The archive from the lines of the job's log. Raises ResultError while they are not all there."""
    since = (job.created or time.time() - 7 * 86400) - EARLIER
    return assembled(job.name, (text for _, text in workspace.log("job", job.id, since)))


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
    packed = base64.b64decode("".join(parts[number] for number in range(1, total + 1)))
    if hashlib.sha256(packed).hexdigest() != digest:
        raise ResultError(f"{key}: the results in its log are damaged: their checksum does not fit")
    return packed


def unpack(packed: bytes, folder: Path) -> None:
    """The files of an archive in a folder. Raises ResultError for one that is damaged or reaches out of it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ResultError(f"{folder.name}: its packed results cannot be unpacked: {error}") from error


def verify(folder: Path, job: str) -> None:
    """Raise ResultError unless every file of the job's own list is there with its checksum."""
    listed = folder / ".proctor" / f"{job}.sha256"
    if not listed.exists():
        return
    for line in listed.read_text().splitlines():
        digest, _, name = line.partition("  ")
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise ResultError(f"{folder.name}: {name} is missing or damaged, so the results are not whole")
