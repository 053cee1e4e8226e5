"""From a job to the files that a cluster is sent: one batch script, and what its steps read; pure.

The batch script is one allocation with the server and every benchmark as overlapping `srun` steps on its first node. Each
step runs the wrapper of `proctor.blocks.stages`, which takes its turn, waits for the server and leaves stage files.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

from proctor.blocks.job import Container, EnvVar, JobSpec, Mount, Server, Step
from proctor.blocks.job_files import CONTAINER_JOB, CONTAINER_RESULTS, SERVER, contained_script, order_file, step_files
from proctor.blocks.job_files import step_script as in_place_script
from proctor.blocks.slurm.containers import cleanup, launch
from proctor.blocks.stages import server_wrapper, step_marker
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import SlurmExecution

NIM_COMMAND = "/opt/nvidia/nvidia_entrypoint.sh /opt/nim/start_server.sh"
"""What a NIM image starts by itself; `srun` starts commands, not entrypoints."""
WARNING_SECONDS = 120
"""Before the end of the walltime Slurm sends TERM, so that harnesses can end cleanly."""


def render(job: JobSpec, execution: SlurmExecution) -> str:
    """Every file of the job under its path on the cluster; variables by name only."""
    host = f"{execution.username}@{execution.hostname}" if execution.username else execution.hostname or "(no hostname)"
    parts = [f"# job {job.name} on {host}: sbatch {batch_file(job)}"]
    for path, text in job_files(job, execution).items():
        parts += [f"==> {path} <==", text.rstrip("\n")]
    return "\n".join(parts)


def job_files(job: JobSpec, execution: SlurmExecution) -> dict[str, str]:
    """The texts of a job by their absolute paths on the cluster, the batch script first."""
    found = {batch_file(job): batch_script(job, execution)}
    found[str(order_file(job))] = "".join(f"{step.name}\n" for step in job.steps)
    for step in job.steps:
        files = step_files(job, step.name)
        found[str(files.run_config)] = step.run_config
        found[str(files.script)] = step_text(job, step, execution)
    if job.server:
        found[str(step_files(job, SERVER).script)] = server_text(job, job.server, execution)
    return found


def batch_file(job: JobSpec) -> str:
    """Where the batch script stands."""
    return f"{job.output_dir}/.proctor/{job.name}.sbatch"


def step_text(job: JobSpec, step: Step, execution: SlurmExecution) -> str:
    """The wrapper of a step."""
    wrapper = in_place_script if execution.container_runtime == "none" else contained_script
    return wrapper(job, step, execution.endpoint_readiness_timeout)


def server_text(job: JobSpec, server: Server, execution: SlurmExecution) -> str:
    """The wrapper of the server."""
    folder = str(step_files(job, SERVER).folder) if execution.container_runtime == "none" else CONTAINER_RESULTS
    return server_wrapper(job, replace(server, command=server.command or NIM_COMMAND), folder)


def batch_script(job: JobSpec, execution: SlurmExecution) -> str:
    """What `sbatch` is given. Raises ConfigError for what a batch script cannot do yet."""
    if job.server and (execution.nodes > 1 or execution.num_instances > 1):
        raise ConfigError(
            "execution.nodes: a model server on several nodes is not supported yet; set nodes: 1 and num_instances: 1"
        )
    lines = ["#!/bin/bash", *directives(job, execution), "", "# Written by Proctor; see docs/architecture.md."]
    lines += [f"JOB={shlex.quote(job.name)}", f"OUT={shlex.quote(job.output_dir)}", PROLOGUE]
    for step in job.steps:
        lines += [started(job, step.name, step.container, execution), 'STEPS+=("$!")', ""]
    if job.server:
        lines += ["# The steps wait for the server; when it ends before they do, they end with it."]
        lines += [started(job, SERVER, job.server.container, execution, """kill -TERM "${STEPS[@]}" 2>/dev/null""")]
        lines += ["SERVER=$!", ""]
    lines.append(EPILOGUE)
    return "\n".join(lines)


PROLOGUE = """\
umask 022
cd "$OUT" || exit 73
HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
STEPS=() SERVER='' CODE=0
trap 'kill -TERM "${STEPS[@]}" $SERVER 2>/dev/null' TERM INT

# read_variables NAME: values that were sent apart from this script, in a file of mode 0600; it is gone afterwards.
read_variables() {
  [ -r "$OUT/.proctor/$JOB.env/$1" ] || return 0
  set -a
  # shellcheck source=/dev/null
  . "$OUT/.proctor/$JOB.env/$1"
  set +a
  rm -f "$OUT/.proctor/$JOB.env/$1"
}

# ended PID: wait for its end through any number of signals; sets ENDED.
ended() {
  while wait "$1"; ENDED=$?; [ "$ENDED" -gt 128 ] && kill -0 "$1" 2>/dev/null; do :; done
}

# step NAME ARGUMENTS: srun on the first node; TERM is passed on to srun, and by srun to the step.
step() {
  trap 'kill -TERM "$!" 2>/dev/null' TERM
  name=$1
  shift
  srun --overlap -N1 -n1 --nodelist="$HEAD" --job-name="$name" --open-mode=append --output="$OUT/$name/harness.log" "$@" &
  ended "$!"
}
"""

EPILOGUE = """\
for pid in "${STEPS[@]}"; do
  ended "$pid"
  [ "$ENDED" -eq 0 ] || CODE=$ENDED
done
[ -z "$SERVER" ] || { kill -TERM "$SERVER" 2>/dev/null; ended "$SERVER"; }
exit "$CODE"
"""


def started(job: JobSpec, name: str, container: Container, execution: SlurmExecution, after: str = "") -> str:
    """Shell text that starts a step or the server in the background, with its variables and nobody else's."""
    files, word = step_files(job, name), shlex.quote(name)
    mounts = (*folders(job, name), *container.mounts)
    place = launch(execution, container, mounts, names(container.env), f"{job.name}-{name}")
    script = str(files.script) if execution.container_runtime == "none" else inside(job, name)
    lines = ["(", f"  read_variables {word}", *(f"  export {each}" for each in exports(job, name, container.env))]
    lines.append("  " + " ".join(filter(None, ["step", word, place, "sh", shlex.quote(script)])))
    lines += [f"  {each}" for each in (cleanup(execution, f"{job.name}-{name}"), after) if each]
    return "\n".join([*lines, '  exit "$ENDED"', ") &"])


def exports(job: JobSpec, name: str, env: Sequence[EnvVar]) -> list[str]:
    """Assignments that hold no secret: ours, texts, and variables of the machine where the job runs."""
    ours = {"PROCTOR_EVALUATION": job.evaluation, "PROCTOR_JOB": job.name, "PROCTOR_STEP": step_marker(job.name, name)}
    found = [f"{key}={shlex.quote(value)}" for key, value in ours.items()]
    found += [f"{each.name}={shlex.quote(each.value)}" for each in env if each.source == "lit"]
    return found + [f'{each.name}="${{{each.value}-}}"' for each in env if each.source == "runtime"]


def names(env: Sequence[EnvVar]) -> list[str]:
    """The variables that a container gets from its step."""
    return ["PROCTOR_EVALUATION", "PROCTOR_JOB", "PROCTOR_STEP", *sorted(each.name for each in env)]


def folders(job: JobSpec, name: str) -> tuple[Mount, ...]:
    """What the wrapper needs to see: the step's output folder, and read only those of the whole job."""
    own = Mount(str(step_files(job, name).folder), CONTAINER_RESULTS)
    return (own, Mount(job.output_dir, CONTAINER_JOB, read_only=True))


def inside(job: JobSpec, name: str) -> str:
    """The wrapper's path as the container sees it."""
    return f"{CONTAINER_RESULTS}/.proctor/{step_files(job, name).script.name}"


def directives(job: JobSpec, execution: SlurmExecution) -> list[str]:
    """The `#SBATCH` lines."""
    options: dict[str, str | int | float | bool | None] = {
        "job-name": job.name,
        "account": execution.account,
        "partition": execution.partition,
        "qos": execution.qos,
        "nodes": execution.nodes,
        "ntasks-per-node": execution.ntasks_per_node,
        "gpus-per-node": execution.gpus_per_node,
        "gres": execution.gres,
        "cpus-per-task": execution.cpus_per_task,
        "mem": execution.memory,
        "time": clock(execution.walltime),
        "output": f"{job.output_dir}/.proctor/{job.name}-%j.log",
        "open-mode": "append",
        "signal": f"B:TERM@{WARNING_SECONDS}",
        "requeue" if execution.requeue else "no-requeue": True,
        "exclusive": execution.exclusive or None,
        "reservation": execution.reservation,
        "dependency": execution.dependency,
        "mail-user": execution.mail,
        "mail-type": "END,FAIL" if execution.mail else None,
        "comment": execution.sbatch_comment or job.name,
    }
    return [
        directive(name, value)
        for name, value in flags(options, execution.sbatch_extra_flags).items()
        if value not in (None, False)
    ]


Flag = str | int | float | bool | None


def flags(ours: Mapping[str, Flag], extra: Mapping[str, Flag]) -> dict[str, Flag]:
    """Our options with the user's own flags over them; `exclusive: true` is a bare flag, `false` leaves one out."""
    return {**ours, **{name.lstrip("-").replace("_", "-"): value for name, value in extra.items()}}


def directive(name: str, value: Flag) -> str:
    """One line; raises ConfigError for a value that would begin another one."""
    text = str(value)
    if "\n" in text or "\r" in text:
        raise ConfigError(
            f"execution: the value for sbatch --{name} has a line break, which a batch script cannot hold"
        )
    return f"#SBATCH --{name}" if value is True else f"#SBATCH --{name}={shlex.quote(text)}"


def clock(seconds: float) -> str:
    """A duration as Slurm writes it: `[D-]HH:MM:SS`."""
    days, rest = divmod(int(seconds), 86400)
    text = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{text}" if days else text
