"""What happens to a job on Lepton: its endpoint first, then each benchmark when its turn has come, then its output.

All of it is decided anew at every look, from Lepton's list, the ledger and the stage files, so that any process of this
machine can go on where another one died.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from proctor.blocks.answered import told
from proctor.blocks.errors import BackendError, RejectedError, ResultError, TransientError
from proctor.blocks.job import JobHandle, JobSpec, JobState, JobStatus, ServerStatus, StepStatus
from proctor.blocks.job_files import step_files, write_whole
from proctor.blocks.lepton.connection import UnauthorizedError
from proctor.blocks.lepton.harvest import give_up_moved, harvest, unended
from proctor.blocks.lepton.homecoming import bring_home
from proctor.blocks.lepton.last_words import has_ended, settle
from proctor.blocks.lepton.ledger import Asked, Ledger, keep, opened
from proctor.blocks.lepton.preparation import prepare
from proctor.blocks.lepton.pulse import feel
from proctor.blocks.lepton.removal import is_live, is_there, may_arrive, take_back
from proctor.blocks.lepton.render import benchmark_job
from proctor.blocks.lepton.script import Route
from proctor.blocks.lepton.servers import attend, ensure, with_groups
from proctor.blocks.lepton.shares import Share, shares, steps_of
from proctor.blocks.lepton.states import FATAL_EVENTS, Phase, diagnosis, job_meaning
from proctor.blocks.lepton.verdict import BEFORE_TURN, LAST_WORDS, SETTLE, Limits, Verdict, last_word, verdict
from proctor.blocks.lepton.workspace import SeenJob, Workspace
from proctor.blocks.stage_files import UNSEEN, after_server_death, job_state, join, read_folder
from proctor.configs.errors import ConfigError
from proctor.configs.lepton_endpoint import endpoint_in


def handle_of(job: JobSpec) -> JobHandle:
    """How a job is found again."""
    return JobHandle("lepton", job.name, job.evaluation, job.output_dir, tuple(step.name for step in job.steps))


def submit(workspace: Workspace, job: JobSpec) -> JobHandle | BackendError:
    """Bring a job into being, or go on where an earlier call broke off. Raises TransientError."""
    handle = handle_of(job)
    with opened(job) as page:
        assert page is not None  # noqa: S101 (for a JobSpec there is always one)
        if page.over:
            return handle
        known = page.prepared
        try:
            if not page.prepared:
                prepare(workspace, page)
            listed = workspace.jobs(job.name)
            if job.server:
                ensure(workspace, page, job.server)
            else:
                start_jobs(workspace, page, listed)
        except UnauthorizedError as error:
            if known:
                raise
            return RejectedError(str(error))
        except (RejectedError, ConfigError) as error:
            return take_back(workspace, handle, page, error)
        finally:
            if page.prepared:
                keep(page)
    return handle


def start_jobs(workspace: Workspace, page: Ledger, listed: Mapping[str, SeenJob]) -> None:
    """Ask for the jobs whose turn has come. What is listed under its name is adopted, never doubled."""
    adopt(workspace, page, listed)
    handle, all_shares, now = handle_of(page.job), shares(page.job, workspace.execution), time.time()
    left = {share: unended(handle, share) for share in all_shares}
    live = sum(1 for share in all_shares if page.of(share.entry).at and left[share])
    for share in all_shares:
        entry = page.of(share.entry)
        unsure = entry.at and not entry.id and now > entry.at + SETTLE
        wanted = [step for step in left[share] if not page.of(step).cancelled]
        if not wanted or (entry.at and not unsure):
            continue
        if not unsure and live >= page.job.max_parallel:
            return
        live += not unsure
        ask_for(workspace, page, replace(share, steps=tuple(wanted)), entry)


def adopt(workspace: Workspace, page: Ledger, listed: Mapping[str, SeenJob]) -> None:
    """Note the ids of jobs that are there under our names, and delete those that stand there twice."""
    for share in shares(page.job, workspace.execution):
        entry, found = page.of(share.entry), listed.get(share.name)
        if found is None or found.ours not in {"", page.job.name}:
            continue
        if found.id != entry.id:
            entry.at, entry.id = entry.at or time.time(), found.id
            keep(page)
        for double in found.doubles:
            if double.ours == page.job.name and is_live(double):
                workspace.delete_job(double.id)


def ask_for(workspace: Workspace, page: Ledger, share: Share, entry: Asked) -> None:
    """Ask for one job; that it is asked for is on disk before."""
    steps, execution = steps_of(page.job, share), with_groups(workspace, page)
    for step in share.steps:
        step_files(page.job, step).folder.mkdir(parents=True, exist_ok=True)
    name = next((named for step in steps if (named := endpoint_in(step.endpoint_url))), "")
    document = benchmark_job(page.job, share, execution, Route(name, page.base, page.model))
    entry.at = time.time()
    keep(page)
    try:
        entry.id = workspace.create_job(document)
    except TransientError:
        entry.at = time.time()  # it may still arrive, so long after we stopped waiting
        raise
    except RejectedError:
        entry.at = 0.0
        raise
    finally:
        keep(page)


def look(workspace: Workspace, handle: JobHandle, listed: Mapping[str, SeenJob]) -> JobStatus:
    """How a job is doing; what its state calls for is done."""
    with opened(handle) as page:
        waiting = ""
        if page and not page.over:
            waiting = go_on(workspace, page, listed)
        if page and page.over:
            delete_late(workspace, page, listed)
        steps: dict[str, StepStatus] = {}
        for share in shares(handle, workspace.execution):
            steps |= look_at_share(workspace, handle, page, share, listed.get(share.name), waiting)
        if page:
            keep(page)
    return JobStatus(
        state=job_state(steps.values()),
        steps={name: steps[name] for name in handle.steps},
        server=server_status(page, waiting),
        observed=datetime.now(UTC)
        if page or any(each.state is not JobState.UNKNOWN for each in steps.values())
        else None,
    )


def look_at_share(
    workspace: Workspace, handle: JobHandle, page: Ledger | None, share: Share, job: SeenJob | None, waiting: str
) -> dict[str, StepStatus]:
    """How the steps of one job on Lepton are doing."""
    entry = page.of(share.entry) if page else Asked()
    if job:
        note_course(entry, job, time.time())
    if job and page and not page.over:
        harvest(workspace, handle, share, job)
        give_up_moved(workspace, handle, share, entry, job)
    turn = next(iter(unended(handle, share)), "")
    seen = Looked(handle, page, share, entry, job, turn)
    return {step: look_at(workspace, seen, step, waiting) for step in share.steps}


def delete_late(workspace: Workspace, page: Ledger, listed: Mapping[str, SeenJob]) -> None:
    """Delete jobs that came to be after their end was asked for."""
    names = {share.name for share in shares(page.job, workspace.execution)}
    for job in (each for name, each in listed.items() if name in names and each.ours == page.job.name):
        for each in (job, *job.doubles):
            if is_live(each):
                workspace.delete_job(each.id)


def go_on(workspace: Workspace, page: Ledger, listed: Mapping[str, SeenJob]) -> str:
    """See to the server and start what may start; the answer is what the rest waits for."""
    adopt(workspace, page, listed)
    server, left = page.job.server, [step.name for step in page.job.steps if not has_ended(page.job, step.name)]
    if not left:
        return ""
    if server and not page.failure:
        waiting = attend(workspace, page, server)
        if waiting and not page.failure:
            return waiting
    if not page.failure:
        feel(workspace, page)
    if page.failure:
        end_without_server(workspace, page, listed)
        return ""
    try:
        start_jobs(workspace, page, listed)
    except TransientError as error:
        return f"not created yet: {error}"
    except RejectedError as error:
        settle_refused(workspace, page, left, str(error))
    return ""


def settle_refused(workspace: Workspace, page: Ledger, left: list[str], why: str) -> None:
    """End the benchmarks of the first job that is still to be asked for: it was refused."""
    waiting = (share for share in shares(page.job, workspace.execution) if not page.of(share.entry).at)
    share = next(each for each in waiting if set(left) & set(each.steps))
    for step in unended(handle_of(page.job), share):
        settle(page.job, step, "78", f"refused: {why}")


def end_without_server(workspace: Workspace, page: Ledger, listed: Mapping[str, SeenJob]) -> None:
    """End the benchmarks whose server will not answer: they would only ask in vain."""
    handle = handle_of(page.job)
    for share in shares(page.job, workspace.execution):
        if page.of(share.entry).id and unended(handle, share):
            if share.name in listed:
                harvest(workspace, handle, share, listed[share.name], last=True)
            workspace.delete_job(page.of(share.entry).id)
        for step in unended(handle, share):
            settle(page.job, step, "69", f"server died: {page.failure}")


@dataclass(frozen=True, slots=True)
class Looked:
    """What is known about one job on Lepton at a look."""

    handle: JobHandle
    page: Ledger | None
    share: Share
    entry: Asked
    job: SeenJob | None
    turn: str
    """The step that it runs, or ran when it ended."""

    def limits(self, queue_timeout: float) -> Limits:
        """How long things may take."""
        together = steps_of(self.page.job, self.share) if self.page else []
        return Limits.of(queue_timeout, together, len(self.handle.steps))


def look_at(workspace: Workspace, seen: Looked, step: str, waiting: str) -> StepStatus:
    """How one step is doing; what its state calls for is done."""
    handle, page, entry, job = seen.handle, seen.page, seen.entry, seen.job
    now, folder = time.time(), step_files(handle, step).folder
    if page and (page.over or page.of(step).cancelled) and not has_ended(handle, step):
        if may_arrive(entry, now) or (job and is_there(job)):
            return StepStatus(JobState.RUNNING, message="is being removed from Lepton")
        settle(handle, step, "143", "cancelled")
    limits, turn = seen.limits(workspace.execution.queue_timeout), step == seen.turn
    found = verdict(read_folder(folder, handle.name), entry, job, limits, now, turn=turn)
    if page is None and job is None and found.status.state is JobState.PENDING:
        return StepStatus(JobState.UNKNOWN, message="no trace of it")
    if found.next:
        try:
            act(workspace, seen, step, found)
        except BackendError as error:
            return StepStatus(JobState.UNKNOWN, message=str(error))
        stages = read_folder(folder, handle.name)
        if "exit" in stages:
            found = Verdict(join(stages, UNSEEN))
    if found.status.state.final:
        keep_models(page, handle, step)
        return after_server_death(found.status, page.failure) if page and page.failure else found.status
    if found.status.state is JobState.RUNNING:
        return replace(found.status, requests=told(folder))
    not_begun = found.status.state is JobState.PENDING and not entry.at
    return StepStatus(JobState.PENDING, message=waiting) if not_begun and waiting else found.status


def note_course(entry: Asked, job: SeenJob, now: float) -> None:
    """Note since when a job runs; one that waits again, because it lost its node, has its whole time before it."""
    phase = job_meaning(job.state, job.succeeded, job.failed).phase
    if phase is Phase.RUNNING:
        entry.running = entry.running or now
    elif phase is Phase.WAITING and entry.running:
        entry.running, entry.moved = 0.0, now


def keep_models(page: Ledger | None, handle: JobHandle, step: str) -> None:
    """Leave what the server said about its models beside the step's results."""
    place = step_files(handle, step).folder / "server-models.json"
    if page and page.models and not place.exists():
        write_whole(place, page.models)


def act(workspace: Workspace, seen: Looked, step: str, found: Verdict) -> None:
    """Do what a verdict calls for. A step that is thereby at its end has a stage.exit afterwards."""
    handle, entry, job, share = seen.handle, seen.entry, seen.job, seen.share
    match found.next:
        case "bring home" if job:
            come_home(workspace, seen, step, job)
        case "stopped" if job:
            harvest(workspace, handle, share, job, last=True)
            settle(handle, step, "143", f"cancelled: it {found.status.message} by somebody else")
        case "vanished" if workspace.job(entry.id) is None:
            harvest(workspace, handle, share, SeenJob(entry.id, share.name, ""), last=True)
            settle(handle, step, "70", "it vanished from Lepton: somebody removed it, or it ended more than 3 days ago")
        case "ask why" if job:
            ask_why(workspace, handle, share, entry, job)
        case "give up queueing" if job:
            workspace.delete_job(job.id)
            limit = workspace.execution.queue_timeout
            settle(
                handle,
                step,
                "75",
                f"no capacity: it waited {limit:g} s (execution.queue_timeout): {found.status.message}",
            )
        case "give up running" if job:
            harvest(workspace, handle, share, job, last=True)
            workspace.delete_job(job.id)
            late = "timed out: its own clock did not end it, so its job was deleted"
            settle(handle, step, *(("124", late) if step == seen.turn else ("lost", BEFORE_TURN)))


def ask_why(workspace: Workspace, handle: JobHandle, share: Share, entry: Asked, job: SeenJob) -> None:
    """Note why a job still waits; one that waits for what will never come is ended."""
    reasons = workspace.reasons(job.id, warnings=True)
    entry.looked, entry.why = time.time(), reasons[-1] if reasons else ""
    hopeless = next((f"{FATAL_EVENTS[each]} ({each})" for each in reasons if each in FATAL_EVENTS), "")
    if hopeless:
        workspace.delete_job(job.id)
        for step in unended(handle, share):
            settle(handle, step, "70", hopeless)


def come_home(workspace: Workspace, seen: Looked, step: str, job: SeenJob) -> None:
    """Bring the output of an ended job here; one that has no last word after a while gets one.

    Raises TransientError while its output cannot be asked for: then nothing is known about its end.
    """
    handle, entry = seen.handle, seen.entry
    entry.ended = entry.ended or time.time()
    trouble = "its folder shows no end of it"
    try:
        bring_home(workspace, handle, step, job)
    except TransientError:
        raise
    except (ResultError, RejectedError, ConfigError) as error:
        trouble = str(error)
    if has_ended(handle, step) or time.time() < entry.ended + LAST_WORDS:
        return
    why, may_recur = diagnosis(workspace.reasons(job.id))
    means = job_meaning(job.state, job.succeeded, job.failed)
    begun = step == seen.turn
    settle(handle, step, *last_word(means, why, may_recur=may_recur, trouble=trouble, begun=begun))


def server_status(page: Ledger | None, waiting: str) -> ServerStatus | None:
    """How the job's model server is doing."""
    if page is None or page.job.server is None:
        return None
    if page.failure:
        return ServerStatus(JobState.FAILED, page.failure, page.log_tail)
    if page.models:
        return ServerStatus(JobState.CANCELLED if page.over else JobState.RUNNING)
    return ServerStatus(JobState.CANCELLED if page.over else JobState.PENDING, waiting)
