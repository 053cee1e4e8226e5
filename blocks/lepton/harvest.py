"""What benchmarks that share a job have left so far: it comes home while the job still runs.

On a volume it is home as soon as it is written. A log or an upload is there too once its benchmark has ended, whatever
becomes of the job and the others afterwards.
"""

from collections.abc import Iterator
from itertools import takewhile

from proctor.blocks.errors import BackendError, ResultError
from proctor.blocks.job import JobHandle
from proctor.blocks.lepton.homecoming import SUM, SUM_MARK, beginning, bring_home, in_store
from proctor.blocks.lepton.last_words import has_ended, settle
from proctor.blocks.lepton.ledger import Asked
from proctor.blocks.lepton.shares import Share
from proctor.blocks.lepton.workspace import SeenJob, Workspace
from proctor.configs.errors import ConfigError


def unended(handle: JobHandle, share: Share) -> list[str]:
    """The steps of a share that have had no last word on this machine."""
    return [step for step in share.steps if not has_ended(handle, step)]


def harvest(workspace: Workspace, handle: JobHandle, share: Share, job: SeenJob, *, last: bool = False) -> None:
    """Bring home the output of those that have ended; what cannot be had now is let go.

    `last`: the job is about to be removed, or is gone, so every place is looked at.
    """
    if workspace.execution.results.via == "mount" or not (share.together or last):
        return
    try:
        for step in unended(handle, share) if last else finished(workspace, handle, share, job):
            came_home(workspace, handle, step, job)
    except (BackendError, ConfigError):
        return


def came_home(workspace: Workspace, handle: JobHandle, step: str, job: SeenJob) -> bool:
    """Whether the output of a step could be brought here. Raises BackendError when nobody could be asked for it."""
    try:
        bring_home(workspace, handle, step, job)
    except ResultError:
        return False
    return True


def finished(workspace: Workspace, handle: JobHandle, share: Share, job: SeenJob) -> Iterator[str]:
    """The steps whose output is to be had and not here yet, for one question or two."""
    results, left = workspace.execution.results, unended(handle, share)
    if results.via == "object":
        yield from takewhile(lambda step: in_store(results, handle, step), left)
    elif left:
        rows = workspace.log("job", job.id, beginning(job), SUM_MARK)
        marks = {found[1] for _, text in rows if (found := SUM.search(text))}
        yield from (step for step in left if share.mark(step) in marks)


def give_up_moved(workspace: Workspace, handle: JobHandle, share: Share, entry: Asked, job: SeenJob) -> None:
    """Delete a job that starts from the beginning, on another node, what has come home already; the rest is lost.

    On a volume it finds what has ended, and goes on after it.
    """
    left = unended(handle, share)
    if not entry.moved or workspace.execution.results.via == "mount" or len(left) in {0, len(share.steps)}:
        return
    workspace.delete_job(job.id)
    for step in left:
        settle(handle, step, "lost", "its job lost its node after other benchmarks of it had ended")
