"""Whether a step has had its last word on this machine, and writing it for one that cannot."""

from proctor.blocks.job import JobHandle, JobSpec
from proctor.blocks.job_files import step_files, write_exit
from proctor.blocks.stage_files import read_folder


def has_ended(job: JobSpec | JobHandle, step: str) -> bool:
    """Whether a step of this job has had its last word on this machine."""
    return "exit" in read_folder(step_files(job, step).folder, job.name)


def settle(job: JobSpec | JobHandle, step: str, code: str, words: str) -> None:
    """Write the last word of a step that cannot."""
    folder = step_files(job, step).folder
    folder.mkdir(parents=True, exist_ok=True)
    write_exit(folder, job.name, code, " ".join(words.split()))
