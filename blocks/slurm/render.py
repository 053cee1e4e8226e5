"""What `submit` would send to a cluster, as text for a person; pure."""

from proctor.blocks.job import JobSpec
from proctor.blocks.slurm.files import job_files, work_folder
from proctor.configs.execution_schema import SlurmExecution


def render(job: JobSpec, execution: SlurmExecution) -> str:
    """Every file of the job, the batch script first; variables by name only."""
    files = job_files(job, execution)
    names = sorted({variable.name for step in job.steps for variable in step.container.env})
    told = f"# private/env, mode 0600, holds the values of: {' '.join(names) or '(nothing)'}"
    host = execution.hostname or "(no hostname)"
    user = f"{execution.username}@" if execution.username else ""
    parts = [f"# job {job.name} on {user}{host}, in {work_folder(job)}", told]
    for name, text in files.items():
        parts += [f"# ---- {name}", text]
    return "\n".join(parts)
