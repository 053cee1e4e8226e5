"""What was asked of Lepton for a job, in a file of the evaluation's folder: names, ids and times.

Of values it holds one, the token of the job's own endpoint, which is worth nothing once that is gone: nobody can ask
Lepton for it, and whoever goes on with the evaluation needs it. The file is its owner's alone.

Every change happens under a lock of the operating system, so that two processes that look at a job at the same time
create nothing twice; what was asked stands there before the request is sent.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from proctor.blocks.job import JobHandle, JobSpec


@dataclass(slots=True)
class Asked:
    """One thing that was asked for: the job of a step, or an endpoint."""

    at: float = 0.0
    """When, in seconds of the epoch; 0 for never."""
    id: str = ""
    """What Lepton calls it; empty while its answer is not known."""
    running: float = 0.0
    """When it was first seen to run, since it last waited."""
    moved: float = 0.0
    """When it was last seen to wait again after it had run; 0 for never."""
    cancelled: bool = False
    """Whether we ended it on purpose."""
    ended: float = 0.0
    """When it was first seen to have ended."""
    looked: float = 0.0
    """When Lepton was last asked why it still waits."""
    why: str = ""
    """What Lepton said to that."""


@dataclass(slots=True)
class Ledger:
    """The page of one job."""

    job: JobSpec
    steps: dict[str, Asked] = field(default_factory=dict)
    endpoint: Asked = field(default_factory=Asked)
    prepared: bool = False
    """Whether its secrets and the route to its endpoint are there."""
    groups: dict[str, str] = field(default_factory=dict)
    """Ids of the node groups that the section names."""
    shape: str = ""
    """The shape that was chosen for its model server, where the section names none that would do."""
    token: str = field(default="", repr=False)
    """Opens the job's own endpoint."""
    base: str = ""
    """URL of the endpoint that the benchmarks ask, once it is known."""
    model: str = ""
    models: str = ""
    """What that endpoint answered about its models when it first did; empty before."""
    failure: str = ""
    """Why the model server will never answer, or no longer does."""
    log_tail: str = ""
    over: bool = False
    """Whether the job was ended by us."""
    probed: float = 0.0
    """When the endpoint was last asked whether it still answers."""
    silent: float = 0.0
    """When it first did not, since it last did; 0 while it answers."""

    def of(self, step: str) -> Asked:
        """The entry of a step."""
        return self.steps.setdefault(step, Asked())


ADAPTER: TypeAdapter[Ledger] = TypeAdapter(Ledger)


def ledger_file(job: JobSpec | JobHandle) -> Path:
    """Where the page of a job lies."""
    return Path(job.output_dir) / ".proctor" / f"{job.name}.json"


@contextmanager
def opened(job: JobSpec | JobHandle) -> Iterator[Ledger | None]:
    """The page of a job, ours alone until the block is left; None for a handle that nothing is written about here."""
    path = ledger_file(job)
    if isinstance(job, JobHandle) and not path.exists():
        yield None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        page = (
            ADAPTER.validate_json(path.read_bytes())
            if path.exists()
            else Ledger(job)
            if isinstance(job, JobSpec)
            else None
        )
        yield page
        if page:
            keep(page)
    finally:
        os.close(lock)


def keep(page: Ledger) -> None:
    """Write the page whole: also in the middle of a block, before a request is sent."""
    path = ledger_file(page.job)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.touch(0o600)
    temporary.write_text(json.dumps(asdict(page)))
    temporary.rename(path)
