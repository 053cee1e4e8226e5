"""Side by side on one cluster: NVIDIA's nemo-evaluator-launcher, from its published package, and Proctor.

Both submit the same benchmarks as held jobs and ask for their state. The launcher starts `ssh` and `rsync` from PATH, so
wrappers there count them; Proctor's client counts its own remote commands.
"""

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.table import Row
from tests.cluster import SSHD, USER, as_user, why_not

VERSION = "0.2.6"
UV = str(Path(sys.executable).parent / "uv")
LANGUAGES = ("ar", "en", "es", "fr", "ja", "ko", "pt", "th", "vi", "zh")
CONFIG = """
defaults: [{{execution: slurm/default}}, {{deployment: none}}, _self_]
execution:
  hostname: cluster
  username: {user}
  account: eval
  partition: gpu
  walltime: "00:10:00"
  gres: null
  output_dir: {output}
  sbatch_extra_flags: {{hold: true}}
target: {{api_endpoint: {{url: "http://127.0.0.1:9/v1/chat/completions", model_id: m, api_key_name: BENCH_KEY}}}}
evaluation: {{tasks: [{tasks}]}}
"""
OURS = """
import sys, uuid
from pathlib import Path
from benchmarks.slurm import handles_of, jobs
from proctor.blocks.slurm.block import SlurmBackend
from tests.cluster import execution
backend = SlurmBackend(execution=execution(sbatch_extra_flags={"hold": True}))
handles = handles_of(backend.submit(jobs(Path(sys.argv[1]), int(sys.argv[2]))))
submitted = backend.cluster.commands
backend.poll(handles)
print(submitted, backend.cluster.commands - submitted)
backend.cancel(handles)
"""


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    cpu: float
    """Seconds."""
    text: str


def measure() -> list[Row]:
    """The rows of this table; one that says why where it cannot be measured."""
    if reason := why_not():
        return [Row(f"not measured: {reason}", 0.0, None, "")]
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        subprocess.run([UV, "venv", "-q", here / "env"], check=True)
        package = f"nemo-evaluator-launcher=={VERSION}"
        subprocess.run([UV, "pip", "install", "-q", "--python", here / "env/bin/python", package], check=True)
        wrappers(here)
        output = Path(f"~{USER}").expanduser() / "bench-launcher"
        try:
            return [row for count in (1, 10) for row in both(here, output, count)]
        finally:
            subprocess.run(["rm", "-rf", str(output)], check=False)


def wrappers(here: Path) -> None:
    """Programs in front of the real ones, which leave a line for each call."""
    (here / "bin").mkdir()
    for program, options in (("ssh", f"-F {SSHD}/ssh_config"), ("rsync", ""), ("scp", f"-F {SSHD}/ssh_config")):
        if real := shutil.which(program):
            path = here / "bin" / program
            path.write_text(f'#!/bin/sh\necho {program} >>{here}/calls\nexec {real} {options} "$@"\n')
            path.chmod(0o755)


def both(here: Path, output: Path, count: int) -> list[Row]:
    """Submitting and asking, by either."""
    tasks = ", ".join(f"{{name: mmath_{language}}}" for language in LANGUAGES[:count])
    (here / "config.yaml").write_text(CONFIG.format(user=USER, output=output, tasks=tasks))
    before = launcher_jobs()
    submit = launcher(here, "run", "--config", str(here / "config.yaml"))
    submit_calls = calls(here)
    (invocation,) = set(re.findall(r"\b[0-9a-f]{16}\b", submit.text.rpartition("Invocation ID")[2]))
    status = launcher(here, "status", invocation)
    status_calls = calls(here)
    held = launcher_jobs() - before
    as_user("scancel", *held)
    assert len(held) == count, held
    ours = run([sys.executable, "-c", OURS, str(output), str(count)], dict(os.environ))
    asked = [int(word) for word in ours.text.split()[-2:]]
    title = f"{count} benchmark{'s' if count > 1 else ''}"
    return [
        Row(f"{title}, launcher {VERSION}: ssh and rsync to submit", submit_calls, None, ""),
        Row(f"{title}, Proctor: remote commands to submit", asked[0], 3.0, ""),
        Row(f"{title}, launcher: ssh and rsync for one status", status_calls, None, ""),
        Row(f"{title}, Proctor: remote commands for one poll", asked[1], 1.0, ""),
        Row(f"{title}, launcher: submit and status", submit.cpu + status.cpu, None, "CPU s"),
        Row(f"{title}, Proctor: submit and poll, with Python's start", ours.cpu, None, "CPU s"),
    ]


def launcher_jobs() -> set[str]:
    """The launcher's jobs that Slurm holds."""
    names = as_user("squeue", "-h", "-o", "%i %j").splitlines()
    return {line.split()[0] for line in names if "nemo-evaluator-launcher" in line}


def launcher(here: Path, *arguments: str) -> Cost:
    """One command of the launcher, at home in a folder of its own."""
    environment = {
        **os.environ,
        "HOME": str(here),
        "PATH": f"{here / 'bin'}:{os.environ['PATH']}",
        "BENCH_KEY": "none",
        "NEMO_EVALUATOR_TELEMETRY_LEVEL": "0",
    }
    return run([str(here / "env/bin/nemo-evaluator-launcher"), *arguments], environment)


def run(command: list[str], environment: dict[str, str]) -> Cost:
    """A command to its end. Raises RuntimeError with what it said when it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{command[:3]} failed: {(done.stdout + done.stderr)[-600:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, done.stdout + done.stderr)


def calls(here: Path) -> int:
    """The programs called since the last time this was asked."""
    path = here / "calls"
    found = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return len(found)
