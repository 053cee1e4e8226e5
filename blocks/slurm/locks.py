"""Lock files of Python packages that lie on this machine and travel with a job."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path


def key_of(*texts: str) -> str:
    """A short name for these texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def lock_files(packages: Iterable[str]) -> dict[str, str]:
    """The text of each lock file (`*.txt`) of this machine, by its name in the folder of the job."""
    return {f"lock-{key_of(text)}.txt": text for package in packages if (text := lock_text(package)) is not None}


def as_they_travel(packages: Sequence[str]) -> list[str]:
    """The packages with lock files of this machine under their names there, which tell their content."""
    texts = {package: lock_text(package) for package in packages}
    return [package if (text := texts[package]) is None else f"lock-{key_of(text)}.txt" for package in packages]


def lock_text(package: str) -> str | None:
    """What a lock file says; None for anything else, for instance a path of the cluster."""
    path = Path(package)
    return path.read_text() if package.endswith(".txt") and path.is_file() else None
