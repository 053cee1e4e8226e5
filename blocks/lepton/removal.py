"""Ending what was asked of Lepton: a job's jobs, its endpoint and its secrets, until nothing of them runs any more."""

import time
from collections.abc import Collection, Iterable

from proctor.blocks.errors import BackendError, RejectedError, TransientError
from proctor.blocks.job import JobHandle
from proctor.blocks.job_files import StepFiles, forestall, step_files
from proctor.blocks.lepton.harvest import harvest, unended
from proctor.blocks.lepton.last_words import has_ended, settle
from proctor.blocks.lepton.ledger import Asked, Ledger, keep, opened
from proctor.blocks.lepton.render import endpoint_name
from proctor.blocks.lepton.shares import Share, share_of, shares
from proctor.blocks.lepton.states import Phase, job_meaning
from proctor.blocks.lepton.verdict import SETTLE
from proctor.blocks.lepton.workspace import SeenJob, Workspace
from proctor.configs.errors import ConfigError

GONE_SECONDS = 25.0
"""How long the end of what was deleted is waited for."""


def end(workspace: Workspace, handles: Collection[JobHandle], step: str | None) -> None:
    """End jobs, or one step of them. Nothing of it is left on Lepton afterwards; what has come home stays.

    All removals are asked for before the first is waited for, and one that fails stops no other. Raises TransientError
    when something is left, and is then safe to call again; RejectedError for a step that cannot be ended alone.
    """
    for handle in handles if step is not None else ():
        check_alone(workspace, handle, step or "")
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
        if step is not None and others_in_its_job(workspace, handle, step):
            end_one(workspace, handle, page, step)
            return
        if page:
            page.over = page.over or step is None
            for name in chosen(handle, step):
                page.of(name).cancelled = True
            keep(page)
        listed, meant = workspace.every_job(handle.name), meant_shares(workspace, handle, step)
        for share in meant:
            for job in (each for each in listed if each.name == share.name):
                last_chance(workspace, handle, share, job)
            for name in unended(handle, share):
                note_purpose(step_files(handle, name))
        delete_jobs(workspace, page, listed, meant)
        if step is None:
            release(workspace, handle)


def check_alone(workspace: Workspace, handle: JobHandle, step: str) -> None:
    """Raise RejectedError for a benchmark that shares its job where nothing reaches into one that was asked for."""
    others = others_in_its_job(workspace, handle, step)
    if not others or workspace.execution.results.via == "mount" or has_ended(handle, step):
        return
    with opened(handle) as page:
        if page and not page.of(share_of(handle, step, workspace.execution).entry).at:
            return
    raise RejectedError(
        f"{step} cannot be cancelled alone: it shares a job on Lepton with {', '.join(others)}, and only results on a volume "
        "(execution.results.via: mount) let one be reached; cancel the whole evaluation, or let it end"
    )


def others_in_its_job(workspace: Workspace, handle: JobHandle, step: str) -> list[str]:
    """The steps that share a job on Lepton with this one and have not ended: it may not be removed with that job."""
    return [each for each in unended(handle, share_of(handle, step, workspace.execution)) if each != step]


def end_one(workspace: Workspace, handle: JobHandle, page: Ledger | None, step: str) -> None:
    """Have one benchmark ended that shares its job, which sees on its volume that this is meant, or has not begun."""
    if has_ended(handle, step):
        return
    if page:
        page.of(step).cancelled = True
        keep(page)
    files = step_files(handle, step)
    note_purpose(files)
    forestall(files, step)


def meant_shares(workspace: Workspace, handle: JobHandle, step: str | None) -> list[Share]:
    """The jobs on Lepton that are to be removed: all, or that of one step."""
    return [each for each in shares(handle, workspace.execution) if step is None or step in each.steps]


def note_purpose(files: StepFiles) -> None:
    """Leave the word that a step is ended on purpose; its container may be about to begin and then hear TERM."""
    files.cancelled.parent.mkdir(parents=True, exist_ok=True)
    files.cancelled.touch()


def chosen(handle: JobHandle, step: str | None) -> list[str]:
    """The steps that are meant: one, or all."""
    return [name for name in handle.steps if step in {None, name}]


def delete_jobs(workspace: Workspace, page: Ledger | None, listed: Iterable[SeenJob], meant: Iterable[Share]) -> None:
    """Delete every one of these jobs: all that bear their names, and what is known by its id and not listed yet."""
    entries = {share.name: page.of(share.entry) if page else Asked() for share in meant}
    ids = [each.id for each in listed if each.name in entries]
    for native in dict.fromkeys([*ids, *(each.id for each in entries.values() if each.id)]):
        workspace.delete_job(native)


def last_chance(workspace: Workspace, handle: JobHandle, share: Share, job: SeenJob) -> None:
    """Fetch the output of what has ended, before its job is deleted with its log; what cannot be had is let go."""
    means = job_meaning(job.state, job.succeeded, job.failed)
    if share.together or means.phase in {Phase.COMPLETED, Phase.FAILED, Phase.ARCHIVED}:
        harvest(workspace, handle, share, job, last=True)


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
    meant = shares(handle, workspace.execution)
    delete_jobs(workspace, page, workspace.every_job(handle.name), meant)
    if unsure := [each.name for each in meant if may_arrive(page.of(each.entry), time.time())]:
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
    if step is not None and others_in_its_job(workspace, handle, step):
        return left_of_one(workspace, handle, step)
    with opened(handle) as page:
        meant = meant_shares(workspace, handle, step)
        names = {share.name: page.of(share.entry) if page else Asked() for share in meant}
        server = page.endpoint if page and page.job.server and step is None else Asked()
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


def left_of_one(workspace: Workspace, handle: JobHandle, step: str) -> list[str]:
    """Whether a benchmark that shares its job still runs there."""
    share = share_of(handle, step, workspace.execution)
    if has_ended(handle, step):
        return []
    return [step for each in workspace.every_job(handle.name) if each.name == share.name and is_there(each)][:1]


def may_arrive(entry: Asked, now: float) -> bool:
    """Whether something was asked for without an answer, so lately that it may still come to be."""
    return bool(entry.at) and not entry.id and now < entry.at + SETTLE


def is_there(job: SeenJob) -> bool:
    """Whether a container of a job may still be there, though it is being removed."""
    return is_live(job) or job.state in {"Stopping", "Terminating", "Deleting"}


def is_live(job: SeenJob) -> bool:
    """Whether a job may still run."""
    return job_meaning(job.state, job.succeeded, job.failed).phase in {Phase.WAITING, Phase.RUNNING}
