"""Jobs of ours in a cluster's queue, and their end."""

import shlex
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime

from proctor.blocks.errors import TransientError
from proctor.blocks.slurm.cluster import Cluster
from proctor.blocks.slurm.remote import SHELL
from proctor.blocks.stray import JOB_NAME, Stray

PROFILE = "command -v squeue >/dev/null 2>&1 || . /etc/profile >/dev/null 2>&1"
LIST = f"""{PROFILE}
export TZ=UTC
squeue -h -u "$(id -un)" -o '%i|%V|%j' && echo '@end'
"""


def find(cluster: Cluster) -> list[Stray]:
    """Jobs of this login that have our names and have not ended. Raises TransientError when Slurm cannot be asked."""
    answer = cluster.run(SHELL, LIST.encode())
    if "@end" not in answer.text:
        raise TransientError(f"Slurm cannot be asked: {answer.err.strip()[-300:]}")
    return parse(answer.text)


def parse(text: str) -> list[Stray]:
    """The jobs in squeue's answer. Pure."""
    found = []
    for line in text.splitlines():
        ident, _, rest = line.partition("|")
        submitted, _, name = rest.partition("|")
        match = JOB_NAME.fullmatch(name)
        if match is None:
            continue
        since: datetime | None = None
        with suppress(ValueError):
            since = datetime.fromisoformat(f"{submitted}+00:00")
        found.append(Stray(match[1], f"Slurm job {ident} ({name})", ident, since))
    return found


def remove(cluster: Cluster, strays: Collection[Stray]) -> None:
    """scancel. Raises TransientError when Slurm cannot be asked."""
    ids = shlex.join(stray.native for stray in strays)
    answer = cluster.run(SHELL, f"{PROFILE}\nscancel {ids} && echo '@end'\n".encode())
    if "@end" not in answer.text:
        raise TransientError(f"Slurm cannot be asked: {answer.err.strip()[-300:]}")
