"""The Slurm backend: jobs on a cluster, over SSH."""

import shlex
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from proctor.blocks.backend import Backend
from proctor.blocks.errors import BackendError, RejectedError, ResultError, TransientError
from proctor.blocks.finding import Finding
from proctor.blocks.job import JobHandle, JobSpec, JobState, JobStatus, StepStatus
from proctor.blocks.slurm import parse, remote, strays
from proctor.blocks.slurm.answer import Answer
from proctor.blocks.slurm.cluster import Cluster, cluster
from proctor.blocks.slurm.doctor import examine
from proctor.blocks.slurm.fetch import fetch
from proctor.blocks.slurm.files import server_folder
from proctor.blocks.slurm.render import render
from proctor.blocks.slurm.states import GAVE_UP, meaning
from proctor.blocks.slurm.upload import upload, variables
from proctor.blocks.slurm.verdict import stuck, verdict
from proctor.blocks.stage_files import lost
from proctor.blocks.stray import Stray
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import SlurmExecution

SUBMIT_TIMEOUT = 600.0
POLL_TIMEOUT = 60.0
RETRY_PAUSE = 2.0


class SlurmBackend(Backend):
    """Runs each job as one allocation: the server and every benchmark are steps in it."""

    _block_type_name = "Proctor Slurm Backend"
    _block_type_slug = "proctor-slurm"

    execution: SlurmExecution = SlurmExecution()

    @property
    def cluster(self) -> Cluster:
        """The connection, shared with every other block of the same login in this process."""
        return cluster(self.execution)

    def render(self, job: JobSpec) -> str:
        """The batch script and everything beside it."""
        return render(job, self.execution)

    def examine(self, jobs: Sequence[JobSpec]) -> Iterable[Finding]:
        """What `proctor doctor` says about these jobs here."""
        return examine(self.execution, jobs)

    def strays(self) -> Sequence[Stray]:
        """Everything of ours there."""
        return strays.find(self.cluster)

    def remove_strays(self, found: Collection[Stray]) -> None:
        """End these."""
        strays.remove(self.cluster, found)

    def submit(self, jobs: Sequence[JobSpec]) -> dict[str, JobHandle | BackendError]:
        """One remote command: everything goes up in one stream, and each job is answered by its name."""
        answers: dict[str, JobHandle | BackendError] = {}
        texts: dict[str, str] = {}
        for job in jobs:
            try:
                texts[job.name] = variables(job)
                render(job, self.execution)
            except ConfigError as error:
                answers[job.name] = RejectedError(str(error))
        good = [job for job in jobs if job.name not in answers]
        if good:
            command, stream = upload(good, self.execution, texts)
            answer = self.cluster.run(command, stream, timeout=SUBMIT_TIMEOUT)
            answers |= read_answers(good, answer.text, answer.err)
        return {job.name: answers[job.name] for job in jobs}

    def poll(self, handles: Collection[JobHandle]) -> dict[JobHandle, JobStatus]:
        """One remote command for all."""
        order = list(handles)
        if not order:
            return {}
        answer = self.cluster.run(remote.SHELL, remote.poll(order).encode(), timeout=POLL_TIMEOUT)
        look = parse.read(answer.text)
        if not look.whole:
            raise TransientError(f"{self.execution.hostname}: the answer broke off: {answer.err.strip()[-300:]}")
        seen = {
            handle: parse.evidence(look, number, handle.name, handle.native_id) for number, handle in enumerate(order)
        }
        if not any(each.facts or each.stages for each in seen.values()) and "queue" in look.troubles:
            raise TransientError(f"{self.execution.hostname}: {look.troubles['queue']}")
        now = datetime.now(UTC)
        found = {handle: verdict(handle, each, now) for handle, each in seen.items()}
        return found | self.give_up({handle: reason for handle, each in seen.items() if (reason := stuck(each))})

    def give_up(self, hopeless: dict[JobHandle, str]) -> dict[JobHandle, JobStatus]:
        """Cancel jobs that Slurm will never start, where that was asked for."""
        answers: dict[JobHandle, JobStatus] = {}
        for reason in set(hopeless.values()) if self.execution.unresolvable == "cancel" else ():
            handles, why = [each for each in hopeless if hopeless[each] == reason], GAVE_UP + reason.replace(" ", "_")
            with suppress(TransientError):  # the next look tries again
                self.end(handles, why)
                answers |= {handle: given_up(handle, meaning(why).words) for handle in handles}
        return answers

    def logs(self, handle: JobHandle, step: str | None, *, follow: bool, tail: int) -> Iterator[str]:
        """Lines of the log on the shared file system; a lost connection is picked up where it broke."""
        return self.followed(handle, step, tail) if follow else iter(self.last_lines(handle, step, tail))

    def last_lines(self, handle: JobHandle, step: str | None, tail: int) -> list[str]:
        """The end of a log."""
        text = remote.follow(handle, step, None, tail, following=False)
        lines = self.cluster.run(f"/bin/sh -c {shlex.quote(text)}").text.splitlines()
        start = next((number for number, line in enumerate(lines) if remote.log_start(line.encode()) is not None), None)
        return [] if start is None else lines[start + 1 :]

    def followed(self, handle: JobHandle, step: str | None, tail: int) -> Iterator[str]:
        """The end of a log and its growth, from where we were after each loss of the connection."""
        start: int | None = None
        rest = b""
        while True:
            text, begun = remote.follow(handle, step, start, tail, following=True), False
            try:
                for chunk in self.cluster.stream(f"/bin/sh -c {shlex.quote(text)}"):
                    rest += chunk
                    *lines, rest = rest.split(b"\n")
                    while lines and not begun:
                        found = remote.log_start(lines.pop(0))
                        begun, start = found is not None, start if found is None else found
                    start = (start or 0) + sum(len(line) + 1 for line in lines)
                    yield from (line.decode(errors="replace") for line in lines)
            except TransientError:
                rest = b""
                time.sleep(RETRY_PAUSE)
                continue
            if rest:
                yield rest.decode(errors="replace")
            return

    def cancel(self, handles: Collection[JobHandle], step: str | None = None) -> dict[JobHandle, JobStatus]:
        """scancel, and wait until the jobs (or that step of them) are gone with their containers."""
        order = list(handles)
        if not order:
            return {}
        if step is None:
            self.end(order, "CANCELLED")
        else:
            self.ended(
                self.cluster.run(remote.SHELL, remote.cancel_step(order, step).encode(), timeout=POLL_TIMEOUT * 2)
            )
        return {handle: as_cancelled(status) if step is None else status for handle, status in self.poll(order).items()}

    def end(self, handles: Sequence[JobHandle], why: str) -> None:
        """End these jobs on the cluster. Raises TransientError when that is not certain."""
        self.ended(self.cluster.run(remote.SHELL, remote.cancel(handles, why).encode(), timeout=POLL_TIMEOUT * 2))

    def ended(self, answer: Answer) -> None:
        """Raise TransientError unless everything was ended that was to be."""
        failed = [line.removeprefix("@failed ") for line in answer.text.splitlines() if line.startswith("@failed ")]
        if failed or "@end" not in answer.text:
            raise TransientError(f"{self.execution.hostname}: {' '.join(failed) or answer.err.strip()}")

    def fetch(self, handle: JobHandle, step: str, dest: Path) -> Path:
        """Only what is not here yet, checked file by file; caches stay on the cluster. With the last step comes the
        log of the job's server."""
        found = fetch(self.cluster, f"{handle.output_dir}/{step}", dest / step, everything=self.execution.fetch_cache)
        if step == handle.steps[-1]:
            server = server_folder(handle)
            with suppress(ResultError):  # a job without a server
                fetch(self.cluster, f"{handle.output_dir}/{server}", dest / server, everything=False, grows=True)
        return found


def given_up(handle: JobHandle, words: str) -> JobStatus:
    """A job that was cancelled because it could never start."""
    step = StepStatus(JobState.FAILED, None, words)
    return JobStatus(JobState.FAILED, dict.fromkeys(handle.steps, step), observed=datetime.now(UTC))


def as_cancelled(status: JobStatus) -> JobStatus:
    """A job that was just ended: what had not begun never will, and what was lost meanwhile is not started again."""
    steps = {
        name: each
        if each.state.final and not lost(each)
        else StepStatus(JobState.CANCELLED, None, "cancelled", each.started, each.ended)
        for name, each in status.steps.items()
    }
    ended = status.state.final and not any(map(lost, status.steps.values()))
    return replace(status, state=status.state if ended else JobState.CANCELLED, steps=steps)


def read_answers(jobs: Sequence[JobSpec], text: str, errors: str) -> dict[str, JobHandle | BackendError]:
    """A handle or a refusal for each job. Raises TransientError while one of them is open: asking again settles it."""
    found = parse.answers(text, [job.name for job in jobs])
    refused = "" if found else parse.refusal(errors)
    if refused:
        words = f"the cluster cannot write the job's folder; is execution.output_dir right? {refused}"
        return {job.name: RejectedError(words) for job in jobs}
    open_ones = [job.name for job in jobs if found.get(job.name, ("unsure", ""))[0] == "unsure"]
    if open_ones:
        words = found.get(open_ones[0], ("", errors.strip()[-500:]))[1]
        raise TransientError(f"{open_ones[0]}: not known to be submitted: {words or 'no answer'}")
    return {
        job.name: RejectedError(found[job.name][1])
        if found[job.name][0] == "refused"
        else JobHandle(
            "slurm",
            job.name,
            job.evaluation,
            job.output_dir,
            tuple(step.name for step in job.steps),
            found[job.name][1].split()[0],
        )
        for job in jobs
    }
