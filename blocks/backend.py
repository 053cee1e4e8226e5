"""The interface between the flows and the places where jobs run."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from prefect.blocks.core import Block

from proctor.blocks.errors import BackendError
from proctor.blocks.finding import Finding
from proctor.blocks.job import JobHandle, JobSpec, JobStatus
from proctor.blocks.stray import Stray


class Backend(Block, ABC):
    """Where jobs run. Six blocking methods, and optional ones; callers move them to threads.

    "The user's command failed" is a value (`JobStatus`), "our plumbing failed" an exception (`BackendError`). Every
    subclass has a field `execution`: the validated `execution:` section of a config that it was made from.
    """

    _block_schema_capabilities: ClassVar[list[str]] = ["run-evaluation"]

    @abstractmethod
    def render(self, job: JobSpec) -> str:
        """What `submit` would send for this job, as text for a person. Pure; holds no secret value."""

    def examine(self, jobs: Sequence[JobSpec]) -> Iterable[Finding]:
        """What `proctor doctor` finds about running these jobs here; nothing is started. Optional."""
        return ()

    @abstractmethod
    def submit(self, jobs: Sequence[JobSpec]) -> dict[str, JobHandle | BackendError]:
        """Bring every job into being exactly once; the answer is by job name.

        A job of that name that is already there, live or ended, is adopted and not started again: calling this
        twice, or after a crash at any point of an earlier call, never runs a step twice. One refused job does not stop
        the others: its error is its value. Steps run in order, `max_parallel` at a time, also when the caller dies.

        Raises TransientError when nothing could be learnt, and is then safe to call again.
        """

    @abstractmethod
    def poll(self, handles: Collection[JobHandle]) -> dict[JobHandle, JobStatus]:
        """How all these jobs are doing, in one round trip; every handle is answered.

        A job about which there is no evidence is UNKNOWN. Raises TransientError when the backend cannot be asked.
        """

    @abstractmethod
    def logs(self, handle: JobHandle, step: str | None, *, follow: bool, tail: int) -> Iterator[str]:
        """Lines that a step printed (None: the server), the last `tail` first; with `follow` until the step ends."""

    @abstractmethod
    def cancel(self, handles: Collection[JobHandle], step: str | None = None) -> dict[JobHandle, JobStatus]:
        """End these jobs (or only one step of them), release their servers, and say how they ended.

        Idempotent, also for jobs that have ended: what they hold on the machine (containers, networks, processes) is
        gone afterwards, their output stays.
        """

    @abstractmethod
    def fetch(self, handle: JobHandle, step: str, dest: Path) -> Path:
        """The output folder of an ended step under `dest`, whole and verified, with the step's log in `harness.log`.

        Returns `dest / step`. Safe to repeat. Raises ResultError when the output is gone.
        """

    def strays(self) -> Sequence[Stray]:
        """Everything on this machine or cluster that carries our label, ended or not, for `proctor reap`. Optional."""
        return ()

    def remove_strays(self, found: Collection[Stray]) -> None:
        """End and remove these; safe to repeat. Optional."""
