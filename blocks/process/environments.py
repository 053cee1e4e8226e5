"""Cached virtual environments, built with uv once for each set of packages."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from proctor.blocks.errors import RejectedError
from proctor.blocks.process.render import install_arguments

VERSIONS = "environment.txt"
"""Lists what is installed in an environment, one `name==version` a line."""


def default_cache() -> Path:
    """Where environments are kept when the config does not say: the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "proctor" / "environments"


def environment(packages: Sequence[str], cache: Path, python: str | None = None) -> Path:
    """The folder of a virtual environment with exactly these packages, built now if it is not there yet.

    Two processes that need the same one wait for each other. Raises RejectedError with the installer's last lines.
    """
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / key(packages, python or sys.executable)
    with lock(cache / f".{folder.name}.lock"):
        if not folder.exists():
            build(folder, packages, python or sys.executable)
    return folder


def key(packages: Sequence[str], python: str) -> str:
    """The name of an environment: its packages (with the content of local ones) and its Python."""
    digest = hashlib.sha256(f"{python} {sys.version}".encode())
    for package in packages:
        digest.update(package.encode() + b"\0")
        if Path(package).is_file():
            digest.update(Path(package).read_bytes())
        if Path(package).is_dir():
            for path in sorted(Path(package).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path):
                    digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def build(folder: Path, packages: Sequence[str], python: str) -> None:
    """Install into a folder beside and rename it, so that a half-built environment is never used."""
    temporary = folder.with_name(f".{folder.name}.building")
    shutil.rmtree(temporary, ignore_errors=True)
    run_uv(["venv", "--relocatable", "--no-project", "--python", python, str(temporary)])
    inside = str(temporary / "bin" / "python")
    sources = [str(copy_source(Path(each), temporary)) if Path(each).is_dir() else each for each in packages]
    run_uv(["pip", "install", "--compile-bytecode", "--python", inside, *install_arguments(sources)])
    (temporary / VERSIONS).write_text(run_uv(["pip", "freeze", "--python", inside]))
    temporary.rename(folder)


def copy_source(source: Path, temporary: Path) -> Path:
    """A local package, copied so that building it leaves nothing in its own folder."""
    copy = temporary / "src" / source.name
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    return copy


def run_uv(arguments: Sequence[str]) -> str:
    """What uv prints. Raises RejectedError with its last lines when it fails."""
    import uv  # noqa: PLC0415 (only where an environment is built)

    argv = [uv.find_uv_bin(), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        last = " / ".join(done.stderr.strip().splitlines()[-6:])
        raise RejectedError(f"cannot build the environment with {' '.join(arguments[:2])}: {last}")
    return done.stdout


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a lock file; others wait. The lock ends with the process, however it ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
