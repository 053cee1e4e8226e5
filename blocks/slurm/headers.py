"""The #SBATCH lines of a job; pure. Every value that a user wrote is quoted here."""

import re

from proctor.blocks.job import JobSpec
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import SlurmExecution

OURS = {
    *("job-name", "output", "error", "open-mode", "signal", "parsable", "wrap", "array", "wait", "test-only", "chdir"),
    *("clusters", "cluster", "export", "export-file"),
}
"""Flags that would take the job away from us."""

KEYS = {"requeue": "requeue", "no-requeue": "requeue", "time": "walltime", "time-min": "walltime"}
"""Flags that have a key of their own, by which the rest of Proctor goes as well."""


def headers(job: JobSpec, execution: SlurmExecution) -> str:
    """All lines. Raises ConfigError for a flag or a value that cannot stand there."""
    values: dict[str, str | int | None] = {
        "job-name": job.name,
        "output": "/dev/null",
        "time": clock(execution.walltime),
        "signal": f"B:USR1@{warning(execution.walltime)}",
        "account": execution.account,
        "partition": execution.partition,
        "qos": execution.qos,
        "nodes": execution.nodes,
        "ntasks-per-node": execution.ntasks_per_node,
        "gpus-per-node": execution.gpus_per_node,
        "gres": execution.gres,
        "cpus-per-task": execution.cpus_per_task,
        "mem": execution.memory,
        "reservation": execution.reservation,
        "dependency": execution.dependency if job.attempt == 1 else None,
        "mail-user": execution.mail,
        "mail-type": "END,FAIL" if execution.mail else None,
        "comment": execution.sbatch_comment or f"proctor:{job.evaluation}",
    }
    lines = [f"#SBATCH --{name}={quoted(name, str(value))}" for name, value in values.items() if value is not None]
    lines.append("#SBATCH --requeue" if execution.requeue else "#SBATCH --no-requeue")
    if execution.exclusive:
        lines.append("#SBATCH --exclusive")
    return "\n".join([*lines, *extra_flags(execution)])


def extra_flags(execution: SlurmExecution) -> list[str]:
    """`sbatch_extra_flags`: true is a bare flag, false and null leave it out."""
    lines = []
    for key, value in execution.sbatch_extra_flags.items():
        name = key.lstrip("-").replace("_", "-")
        if name in KEYS:
            raise ConfigError(f"execution.sbatch_extra_flags: write execution.{KEYS[name]} instead of {key!r}")
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or name in OURS:
            raise ConfigError(f"execution.sbatch_extra_flags: {key!r} is no flag that can be set here")
        if value is True:
            lines.append(f"#SBATCH --{name}")
        elif value is not None and value is not False:
            lines.append(f"#SBATCH --{name}={quoted(name, str(value))}")
    return lines


def quoted(name: str, value: str) -> str:
    """A value as sbatch reads it in a comment line."""
    if re.search(r"[\n\r\0]", value):
        raise ConfigError(f"execution: the value of --{name} must be one line: {value!r}")
    if re.fullmatch(r"[A-Za-z0-9_@%+=:,./-]+", value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def clock(seconds: float) -> str:
    """HH:MM:SS, with D- before it from one day on."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}-{hours:02}:{minutes:02}:{rest:02}" if days else f"{hours:02}:{minutes:02}:{rest:02}"


def warning(walltime: float) -> int:
    """Seconds before the end at which the harness is told; Slurm may be up to a minute early."""
    return max(20, min(120, int(walltime * 0.05)))
