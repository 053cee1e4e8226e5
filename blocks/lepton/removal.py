"""Ending what was asked of Lepton: a job's jobs, its endpoint and its secrets, until nothing of them runs any more."""

import time
from collections.abc import Collection, Iterable

from proctor.blocks.errors import BackendError, RejectedError, ResultError, TransientError
from proctor.blocks.job import JobHandle
from proctor.blocks.job_files import StepFiles, step_files
from proctor.blocks.lepton.homecoming import bring_home
from proctor.blocks.lepton.last_words import has_ended, settle
from proctor.blocks.lepton.ledger import Asked, Ledger, keep, opened
from proctor.blocks.lepton.render import endpoint_name, job_name
from proctor.blocks.lepton.states import Phase, job_meaning
from proctor.blocks.lepton.verdict import SETTLE
from proctor.blocks.lepton.workspace import SeenJob, Workspace
from proctor.configs.errors import ConfigError

GONE_SECONDS = 25.0
"""How long the end of what was deleted is waited for."""


def end(workspace: Workspace, handles: Collection[JobHandle], step: str | None) -> None:
    """End jobs, or one step of them. Nothing of it is left on Lepton afterwards; what has come home stays.

    All removals are asked for before the first is waited for, and one that fails stops no other. Raises TransientError
    when something is left, and is then safe to call again.
    """
    problems: list[str] = []
    asked: list[JobHandle] = []
    for handle in handles:
        try:
            ask_removal(workspace, handle, step)
            asked.append(handle)
        except (BackendError, ConfigError) as error:
            problems.append(str(error))
    try:
        problems += wait_until_gone(workspace, asked, step)
    except (BackendError, ConfigError) as error:
        problems.append(str(error))
    if problems:
        raise TransientError("; ".join(dict.fromkeys(problems)))


def ask_removal(workspace: Workspace, handle: JobHandle, step: str | None) -> None:
    """Ask for the removal of a job, or of one step of it. That it is meant stands in the ledger before."""
    with opened(handle) as page:
        if page:
            page.over = page.over or step is None
            for name in chosen(handle, step):
                page.of(name).cancelled = True
            keep(page)
        listed = workspace.every_job(handle.name)
        for name in chosen(handle, step):
            for job in (each for each in listed if each.name == job_name(handle, handle.steps.index(name))):
                last_chance(workspace, handle, name, job)
            if not has_ended(handle, name):
                note_purpose(step_files(handle, name))
        delete_jobs(workspace, handle, page, listed, chosen(handle, step))
        if step is None:
            release(workspace, handle)


def note_purpose(files: StepFiles) -> None:
    """Leave the word that a step is ended on purpose; its container may be about to begin and then hear TERM."""
    files.cancelled.parent.mkdir(parents=True, exist_ok=True)
    files.cancelled.touch()


def chosen(handle: JobHandle, step: str | None) -> list[str]:
    """The steps that are meant: one, or all."""
    return [name for name in handle.steps if step in {None, name}]


def delete_jobs(
    workspace: Workspace, handle: JobHandle, page: Ledger | None, listed: Iterable[SeenJob], steps: Iterable[str]
) -> None:
    """Delete every job of these steps: all that bear their names, and what is known by its id and not listed yet."""
    names = {job_name(handle, handle.steps.index(step)) for step in steps}
    ids = [each.id for each in listed if each.name in names]
    known = [page.of(step).id for step in steps] if page else []
    for native in dict.fromkeys([*ids, *(each for each in known if each)]):
        workspace.delete_job(native)


def last_chance(workspace: Workspace, handle: JobHandle, step: str, job: SeenJob) -> None:
    """Fetch the output of a job that has ended, before it is deleted with its log; what cannot be had is let go."""
    means = job_meaning(job.state, job.succeeded, job.failed)
    if means.phase in {Phase.COMPLETED, Phase.FAILED, Phase.ARCHIVED} and not has_ended(handle, step):
        try:
            bring_home(workspace, handle, step, job)
        except (ResultError, BackendError, ConfigError):
            return


def release(workspace: Workspace, handle: JobHandle) -> None:
    """Delete the job's endpoint and its secrets; an endpoint that may not be looked at keeps no secret there."""
    try:
        found = workspace.endpoint(endpoint_name(handle))
        if found and found.ours == handle.name:
            workspace.delete_endpoint(found.name)
    finally:
        workspace.delete_secrets([name for name in workspace.secrets() if name.startswith(f"{handle.name}.")])


def take_back(workspace: Workspace, handle: JobHandle, page: Ledger, why: Exception) -> RejectedError:
    """Remove what there is of a job that was refused after a part of it had been made.

    The answer is the refusal, with what could not be removed. Raises TransientError while a part may still arrive.
    """
    words = str(why)
    if page.prepared:
        keep(page)
        try:
            remove_parts(workspace, handle, page)
        except RejectedError as error:
            words = words if str(error) == words else f"{words}; what was made for it is not removed: {error}"
        page.endpoint, page.steps, page.prepared = Asked(), {}, False
    return RejectedError(words)


def remove_parts(workspace: Workspace, handle: JobHandle, page: Ledger) -> None:
    """Remove jobs, endpoint and secrets. Raises TransientError while a job may still arrive, RejectedError."""
    delete_jobs(workspace, handle, page, workspace.every_job(handle.name), handle.steps)
    if unsure := [name for name in handle.steps if may_arrive(page.of(name), time.time())]:
        raise TransientError(f"{handle.name}: refused, and {', '.join(unsure)} may still arrive on Lepton")
    release(workspace, handle)


def wait_until_gone(workspace: Workspace, handles: Collection[JobHandle], step: str | None) -> list[str]:
    """Wait until Lepton no longer runs these, and write their end; the answer says what it still has after 25 s."""
    deadline, pause, waiting = time.monotonic() + GONE_SECONDS, 0.05, list(handles)
    while True:
        found = {handle: left(workspace, handle, step) for handle in waiting}
        for handle in (each for each in waiting if not found[each]):
            for name in chosen(handle, step):
                settle(handle, name, "143", "cancelled")
        waiting = [handle for handle in waiting if found[handle]]
        if not waiting:
            return []
        if time.monotonic() > deadline:
            return [f"Lepton has not removed {', '.join(found[handle])} yet" for handle in waiting]
        time.sleep(pause)
        pause = min(3.0, pause * 1.5)


def left(workspace: Workspace, handle: JobHandle, step: str | None) -> list[str]:
    """What is still there of a job, or may yet arrive; one that arrived meanwhile is deleted too."""
    with opened(handle) as page:
        asked = {name: page.of(name) if page else Asked() for name in chosen(handle, step)}
        server = page.endpoint if page and page.job.server and step is None else Asked()
    names = {job_name(handle, handle.steps.index(name)): entry for name, entry in asked.items()}
    listed = [each for each in workspace.every_job(handle.name) if each.name in names]
    for job in listed:
        if is_live(job):
            workspace.delete_job(job.id)
    seen, now = {each.name for each in listed}, time.time()
    found = [each.name for each in listed if is_there(each)]
    found += [f"{name}, if it arrives," for name, entry in names.items() if name not in seen and may_arrive(entry, now)]
    endpoint = workspace.endpoint(endpoint_name(handle)) if step is None else None
    if endpoint and endpoint.ours == handle.name:
        if server.at and not server.id:
            workspace.delete_endpoint(endpoint.name)
        found.append(endpoint.name)
    elif step is None and may_arrive(server, now):
        found.append(f"{endpoint_name(handle)}, if it arrives,")
    return found


def may_arrive(entry: Asked, now: float) -> bool:
    """Whether something was asked for without an answer, so lately that it may still come to be."""
    return bool(entry.at) and not entry.id and now < entry.at + SETTLE


def is_there(job: SeenJob) -> bool:
    """Whether a container of a job may still be there, though it is being removed."""
    return is_live(job) or job.state in {"Stopping", "Terminating", "Deleting"}


def is_live(job: SeenJob) -> bool:
    """Whether a job may still run."""
    return job_meaning(job.state, job.succeeded, job.failed).phase in {Phase.WAITING, Phase.RUNNING}
