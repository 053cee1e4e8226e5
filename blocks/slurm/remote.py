"""The shell texts that one remote command carries out; pure. Every word from outside is quoted here."""

import shlex
from collections.abc import Collection, Sequence

from proctor.blocks.job import JobHandle, JobSpec
from proctor.blocks.slurm.files import script, server_folder, work_folder

SHELL = "/bin/sh -s"
"""Reads one of these texts from its standard input."""

ARCHIVE_MARK = b"@proctor-archive\n"
"""Between what a login shell says and the archive."""

CANCEL_SECONDS = 60
STEP_SECONDS = 30


def call(function: str, *words: object) -> str:
    """One line that calls a shell function."""
    return f"{function} {shlex.join(map(str, words))}"


def submission(jobs: Sequence[JobSpec], uploads: Sequence[str]) -> str:
    """Submits these jobs, whose folders were uploaded there."""
    calls = [
        call("submit", job.name, work_folder(job), upload, *(f"{job.output_dir}/{name}" for name in folders(job)))
        for job, upload in zip(jobs, uploads, strict=True)
    ]
    return "\n".join([script("submit.sh"), *calls, f"say end {len(jobs)}", ""])


def folders(job: JobSpec) -> list[str]:
    """The output folders that a job writes into."""
    return [step.name for step in job.steps] + ([server_folder(job)] if job.server else [])


def poll(handles: Collection[JobHandle]) -> str:
    """Looks at these jobs; they are numbered in this order."""
    first = [call("job", work_folder(handle), handle.native_id) for handle in handles]
    then = [
        call("files", number, work_folder(handle), handle.output_dir, handle.name, server_folder(handle), *handle.steps)
        for number, handle in enumerate(handles)
    ]
    return "\n".join([script("poll.sh"), *first, "queue", *then, 'echo "@end $(date +%Y-%m-%dT%H:%M:%S) $(id -u)"', ""])


def cancel(handles: Collection[JobHandle], why: str) -> str:
    """Ends these jobs and waits for it."""
    calls = [
        call(
            "job",
            work_folder(handle),
            handle.native_id,
            handle.name,
            why,
            *(f"{handle.output_dir}/{step}" for step in handle.steps),
        )
        for handle in handles
    ]
    return "\n".join([script("cancel.sh"), *calls, f"end_jobs {CANCEL_SECONDS}", "echo @end", ""])


def cancel_step(handles: Collection[JobHandle], step: str) -> str:
    """Ends one step of these jobs and waits for it."""
    calls = [
        call(
            "step",
            work_folder(handle),
            handle.native_id,
            handle.name,
            f"{handle.output_dir}/{step}",
            handle.steps.index(step),
            STEP_SECONDS,
        )
        for handle in handles
        if step in handle.steps
    ]
    return "\n".join([script("cancel.sh"), *calls, "echo @end", ""])


def follow(handle: JobHandle, step: str | None, start: int | None, tail: int, *, following: bool) -> str:
    """Prints a log; as an argument of `sh -c`, so that standard input tells when nobody listens any more."""
    folder = f"{handle.output_dir}/{step or server_folder(handle)}"
    end = f"{handle.output_dir}/{step or handle.steps[-1]}/stage.exit"
    where = "" if start is None else start
    known = (f"{work_folder(handle)}/job_id", handle.native_id)
    line = call("follow", f"{folder}/harness.log", where, tail, end, handle.name, "1" if following else "", *known)
    return f"exec 3<&0 </dev/null\n{script('follow.sh')}\n{line}\n"


def log_start(line: bytes) -> int | None:
    """Where in the file a followed log begins, from the line that says so; None for what a login shell said before."""
    mark, _, number = line.strip().partition(b" ")
    return int(number) if mark == b"@from" and number.isdigit() else None


def listing(folder: str, everything: bool) -> str:
    """Lists the files of a folder with their checksums."""
    return f"{script('list.sh')}\n{call('list', folder, '1' if everything else '')}\n"


def archive(folder: str, names: Sequence[str]) -> str:
    """Streams these files of a folder behind ARCHIVE_MARK; a link is sent as the file it leads to.

    A file that changes meanwhile is no error of the command: whoever compares what came will see it.
    """
    mark = ARCHIVE_MARK.decode().strip()
    sent = f"printf '%s\\0' {shlex.join(names)} | tar -czhf - --hard-dereference --null -T -"
    return f"cd {shlex.quote(folder)} && echo {mark} && {{ {sent} || [ $? -eq 1 ]; }}\n"
