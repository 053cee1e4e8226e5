"""Can this cluster run these jobs? One login and one remote command, which submits nothing."""

import shlex
from collections.abc import Iterator, Mapping, Sequence

from proctor.blocks.errors import BackendError
from proctor.blocks.finding import GIB, Finding, ok, problem, warning
from proctor.blocks.folders_check import mount_sources
from proctor.blocks.job import JobSpec
from proctor.blocks.slurm.cluster import cluster
from proctor.blocks.slurm.headers import clock, headers
from proctor.blocks.slurm.image_check import image_finding, image_question, images
from proctor.blocks.slurm.login_check import check_keys
from proctor.blocks.slurm.remote import SHELL
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import SlurmExecution
from proctor.configs.fields import seconds_of

LITTLE = 5 * GIB
RUNTIMES = {
    "pyxis": "srun --help 2>&1 | grep -q container-image",
    "apptainer": "command -v apptainer || command -v singularity",
    "podman": "command -v podman",
    "docker": "command -v docker",
    "charliecloud": "command -v ch-run",
    "none": "command -v python3",
}
"""By container runtime: a command that succeeds where it is there."""
MANY = ("mount", "image", "test")
"""Questions that are asked once for each of several things."""


def examine(execution: SlurmExecution, jobs: Sequence[JobSpec]) -> Iterator[Finding]:
    """Keys, login, then everything that the cluster itself says."""
    yield from check_keys(execution)
    try:
        answer = cluster(execution).run(SHELL, questions(execution, jobs).encode())
    except (BackendError, ConfigError) as error:
        words, _, advice = str(error).partition("; ")
        yield problem(words, advice or f"try: ssh -v {execution.hostname}")
        return
    yield ok(f"{execution.hostname} lets us in")
    yield from findings(read(answer.text), execution, jobs)


def sources(execution: SlurmExecution, jobs: Sequence[JobSpec]) -> list[str]:
    """What containers would see of the cluster: mounts, data sets, checkpoints."""
    named = [mount.split(":")[0] for mount in execution.container_mounts]
    return list(dict.fromkeys([*named, *mount_sources(jobs)]))


def questions(execution: SlurmExecution, jobs: Sequence[JobSpec]) -> str:
    """The shell text; each answer is a line `@NAME CODE TEXT`. Pure."""
    lines = [
        "command -v sbatch >/dev/null 2>&1 || . /etc/profile >/dev/null 2>&1",
        'ask() { name=$1; shift; text=$("$@" 2>&1); code=$?; printf \'@%s %s %s\\n\' "$name" $code '
        "\"$(printf '%s' \"$text\" | tr '\\n' ';')\"; }",
        "ask slurm sbatch --version",
        f"place={shlex.quote(execution.output_dir)}",
        'while [ ! -d "$place" ] && [ "$place" != / ]; do place=$(dirname "$place"); done',
        'ask folder sh -c \'test -w "$1" || { echo "you may not write into $1"; exit 1; }\' sh "$place"',
        'ask room sh -c \'df -Pk "$1" | tail -n 1\' sh "$place"',
        f"ask runtime sh -c {shlex.quote(RUNTIMES[execution.container_runtime])}",
        "ask partitions sinfo -h -o '%R %a %l'",
        'ask accounts sacctmgr -nP show assoc user="$(id -un)" format=account',
        "ask qos sacctmgr -nP show qos format=name,maxwall",
    ]
    lines += [f"ask mount test -e {shlex.quote(source)}" for source in sources(execution, jobs)]
    lines += [f"ask image sh -c {shlex.quote(image_question(each, execution))}" for each in images(execution, jobs)]
    for job in jobs:
        text = f"#!/bin/bash\n{headers(job, execution)}\ntrue\n"
        lines.append(f"ask test sh -c {shlex.quote(f'printf %s {shlex.quote(text)} | sbatch --test-only')}")
    return "\n".join([*lines, ""])


def read(text: str) -> list[tuple[str, int, str]]:
    """Name, exit code and text of every answer. Pure."""
    lines = [line[1:].split(" ", 2) for line in text.splitlines() if line.startswith("@")]
    return [(line[0], int(line[1]), line[2] if len(line) > 2 else "") for line in lines]


def findings(
    answers: Sequence[tuple[str, int, str]], execution: SlurmExecution, jobs: Sequence[JobSpec]
) -> Iterator[Finding]:
    """What the answers mean. Pure."""
    single = {name: (code, text) for name, code, text in answers if name not in MANY}
    if single.get("slurm", (1, ""))[0]:
        yield problem(f"there is no sbatch on {execution.hostname}", "name a login node of the cluster")
        return
    yield from folder_findings(single, execution)
    many = {kind: [(code, text) for name, code, text in answers if name == kind] for kind in MANY}
    for source, (code, _) in zip(sources(execution, jobs), many["mount"], strict=False):
        if code:
            yield problem(f"the cluster has no {source}", "correct the path, or create it there")
    for image, (code, text) in zip(images(execution, jobs), many["image"], strict=False):
        yield image_finding(image, code, text)
    if single.get("runtime", (0, ""))[0]:
        advice = "choose another execution.container_runtime, or ask your site (it may be on the compute nodes only)"
        yield warning(f"{execution.container_runtime} is not on the login node", advice)
    yield from limit_findings(single, execution)
    for job, (code, text) in zip(jobs, many["test"], strict=False):
        words = text.replace("sbatch: ", "").strip(" ;")
        yield problem(f"{job.name} can never start: {words}", "change what execution asks for") if code else ok(words)


def folder_findings(single: Mapping[str, tuple[int, str]], execution: SlurmExecution) -> Iterator[Finding]:
    """May we write there, and is there room."""
    code, text = single.get("folder", (0, ""))
    if code:
        yield problem(f"execution.output_dir: {text.strip(' ;')}", "choose a folder of the shared file system")
        return
    fields = single.get("room", (1, ""))[1].split()
    free = int(fields[3]) * 1024 if len(fields) > 3 and fields[3].isdigit() else None
    if free is not None and free < LITTLE:
        yield warning(f"only {free / GIB:.1f} GiB are free in {execution.output_dir}", "make room there")
    elif free is not None:
        yield ok(f"{free / GIB:.1f} GiB are free in {execution.output_dir}")


def limit_findings(single: Mapping[str, tuple[int, str]], execution: SlurmExecution) -> Iterator[Finding]:
    """Account, partition and walltime, in words that sbatch does not find."""
    partitions = dict[str, list[str]]()
    for line in rows(single, "partitions"):
        if len(fields := line.split()) == 3:
            partitions[fields[0]] = fields[1:]
    wanted = execution.partition
    if wanted and partitions and wanted not in partitions:
        yield problem(f"there is no partition {wanted}", f"execution.partition may be {', '.join(partitions)}")
    elif wanted in partitions:
        state, longest = partitions[wanted]
        if state != "up":
            yield warning(f"partition {wanted} is {state}", "jobs wait until your site opens it")
        yield from too_long(f"partition {wanted}", longest, execution)
    accounts = {each for each in rows(single, "accounts") if each}
    if execution.account and accounts and execution.account not in accounts:
        yield problem(f"you have no account {execution.account}", f"yours are {', '.join(sorted(accounts))}")
    for line in rows(single, "qos"):
        name, _, longest = line.partition("|")
        if name and name == execution.qos:
            yield from too_long(f"qos {name}", longest, execution)


def rows(single: Mapping[str, tuple[int, str]], name: str) -> list[str]:
    """The lines of an answer; none where the command failed, since then it names no account but its trouble."""
    code, text = single.get(name, (1, ""))
    return [] if code else text.split(";")


def too_long(what: str, longest: str, execution: SlurmExecution) -> Iterator[Finding]:
    """Whether the walltime is within a limit of Slurm's."""
    try:
        limit = float(seconds_of(longest if longest.count(":") > 1 else f"00:{longest}"))
    except (ValueError, TypeError):
        return
    if execution.walltime > limit:
        asked = clock(execution.walltime)
        yield problem(f"execution.walltime: {asked} is longer than {what} allows ({longest})", "ask for less")
