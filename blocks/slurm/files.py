"""What a job brings to the cluster: its files by name, and the places where they lie; pure."""

import shlex
from dataclasses import dataclass
from importlib.resources import files

from proctor.blocks.job import JobHandle, JobSpec, Mount, Step
from proctor.blocks.job_files import CONTAINER_JOB, CONTAINER_RESULTS, SERVER
from proctor.blocks.slurm.headers import headers
from proctor.blocks.slurm.locks import lock_files
from proctor.blocks.slurm.runtimes import REPLACES_PATH, Box, command, prepare
from proctor.blocks.slurm.serving import haproxy, instance_port, movable, nodes_each, proxy_container, server_command
from proctor.blocks.stages import StepPaths, step_marker, step_wrapper
from proctor.configs.execution_schema import SlurmExecution


@dataclass(frozen=True, slots=True)
class View:
    """The folder of the evaluation as a step sees it."""

    root: str
    results: str
    work: str


def work_folder(job: JobSpec | JobHandle) -> str:
    """The folder of a job's own files."""
    return f"{job.output_dir}/.proctor/{job.name}"


def server_folder(job: JobSpec | JobHandle) -> str:
    """The folder of a job's server beside those of the steps: `server`, or `server.1` in the second job of an evaluation."""
    index = job.name.split("-")[-2:-1]
    return SERVER if index in ([], ["0"]) else f"{SERVER}.{index[0]}"


def view(job: JobSpec, step: str, runtime: str) -> View:
    """Where a step finds things."""
    root = job.output_dir if runtime == "none" else CONTAINER_JOB
    results = f"{job.output_dir}/{step}" if runtime == "none" else CONTAINER_RESULTS
    return View(root, results, f"{root}/.proctor/{job.name}")


def job_files(job: JobSpec, execution: SlurmExecution) -> dict[str, str]:
    """Every file of a job but the one with its variables' values, by name in its folder."""
    found = {"job.sh": job_script(job, execution), "order": "".join(f"{step.name}\n" for step in job.steps)}
    for index, step in enumerate(job.steps):
        seen = view(job, step.name, execution.container_runtime)
        paths = StepPaths(
            seen.results, seen.root, f"{seen.work}/order", f"{seen.work}/{index}.yaml", server_folder(job)
        )
        found[f"{index}.sh"] = step_wrapper(job, step, paths, ready_timeout(job, execution), counted=True)
        found[f"{index}.yaml"] = step.run_config
    if execution.container_runtime == "none":
        servers = [job.server.container] if job.server else []
        containers = [*(step.container for step in job.steps), *servers]
        found |= lock_files(package for container in containers for package in container.packages)
    if execution.container_runtime in REPLACES_PATH:
        found["enter.sh"] = script("enter.sh")
    if job.server:
        found["server"] = f"{job.server.kind}\n"
        nodes_each(execution)
        if job.server.command:
            found["server.sh"] = server_command(job.server, execution)
        if execution.num_instances > 1:
            found["haproxy.cfg"] = haproxy(job.server)
    return found


def ready_timeout(job: JobSpec, execution: SlurmExecution) -> float:
    """How long a step waits for what it measures."""
    return job.server.ready_timeout if job.server else execution.endpoint_readiness_timeout


def script(name: str) -> str:
    """One of the shell files beside this module."""
    return (files("proctor.blocks.slurm") / "scripts" / name).read_text()


def job_script(job: JobSpec, execution: SlurmExecution) -> str:
    """The whole batch script."""
    values = {
        "JOB": job.name,
        "EVALUATION": job.evaluation,
        "ROOT": job.output_dir,
        "CACHE": execution.image_cache or f"{execution.output_dir}/.proctor-cache",
        "RUNTIME": execution.container_runtime,
        "REQUEUE": "1" if execution.requeue else "",
        "SERVER": job.server.kind if job.server else "",
        "SERVER_NAME": server_folder(job) if job.server else "",
        "SERVER_PORT": str(job.server.port) if job.server else "",
        "MOVABLE": "1" if job.server and movable(job.server, execution) else "",
        "READY_TIMEOUT": str(int(ready_timeout(job, execution))),
        "INSTANCES": str(execution.num_instances if job.server else 1),
        "INSTANCE_PORT": str(instance_port(job.server, execution)) if job.server else "",
    }
    parts = ["#!/bin/bash", headers(job, execution), "# Written by Proctor; see docs/architecture.md."]
    parts += [f"{name}={shlex.quote(value)}" for name, value in values.items()]
    parts.append(f"STEPS=({shlex.join(step.name for step in job.steps)})")
    parts += [step_functions(job, index, step, execution) for index, step in enumerate(job.steps)]
    if job.server:
        parts.append(server_functions(job, execution))
    used = ("images.sh", "server.sh", "job.sh") if job.server else ("images.sh", "job.sh")
    return "\n".join([*parts, "", *map(script, used)])


def step_functions(job: JobSpec, index: int, step: Step, execution: SlurmExecution) -> str:
    """How step number `index` is prepared and started."""
    runtime = execution.container_runtime
    seen = view(job, step.name, runtime)
    own = (
        Mount(f"{job.output_dir}/{step.name}", CONTAINER_RESULTS),
        Mount(job.output_dir, CONTAINER_JOB, read_only=True),
    )
    argv = enter(step_marker(job.name, step.name), f"{seen.work}/{index}.sh", seen.work, runtime)
    mounts = (*own, *step.container.mounts)
    box = Box(str(index), step.name, step.container, mounts, argv, gpus=job.server is None, workdir=seen.results)
    options = "--gres=none " if job.server and (execution.gres or execution.gpus_per_node) else ""
    return functions(f"prepare_{index}", f"step_{index}", box, execution, f"one_node step-{index} {options}")


def enter(marker: str, path: str, work: str, runtime: str) -> tuple[str, ...]:
    """The command that runs a script of ours in processes that bear the mark of their step.

    Where the runtime replaces the image's PATH, it is brought back. The mark is in no process of the batch script, for
    the wrapper ends every process that bears it.
    """
    first = (f"{work}/enter.sh",) if runtime in REPLACES_PATH else ()
    return ("env", f"PROCTOR_STEP={marker}", "sh", *first, path)


def server_functions(job: JobSpec, execution: SlurmExecution) -> str:
    """How the server (each instance of it) and its load balancer are prepared and started."""
    if job.server is None:
        return ""
    runtime = execution.container_runtime
    folder = server_folder(job)
    seen = view(job, folder, runtime)
    own = (Mount(job.output_dir, CONTAINER_JOB, read_only=True),)
    marker = step_marker(job.name, SERVER)
    argv = enter(marker, f"{seen.work}/server.sh", seen.work, runtime) if job.server.command else ()
    box = Box(SERVER, folder, job.server.container, (*own, *job.server.container.mounts), argv, server=True)
    spread = '--nodes="$PER_INSTANCE" --ntasks="$PER_INSTANCE" --ntasks-per-node=1 --nodelist="$1"'
    srun = f"srun --overlap {spread} --cpu-bind=none --job-name=server "
    parts = [functions("prepare_server", "launch_server", box, execution, srun)]
    if execution.num_instances > 1:
        argv = ("haproxy", "-W", "-db", "-f", f"{seen.work}/haproxy.run.cfg")
        proxy = Box("proxy", folder, proxy_container(execution), own, argv, gpus=False)
        parts.append(functions("prepare_proxy", "launch_proxy", proxy, execution, "one_node proxy "))
    return "\n".join(parts)


def functions(before: str, name: str, box: Box, execution: SlurmExecution, srun: str) -> str:
    """Two shell functions: what comes before, and the start itself."""
    runtime = execution.container_runtime
    return (
        f"{before}() {{\n  {prepare(box, runtime)}\n}}\n"
        f"{name}() {{\n  {srun}{command(box, runtime, execution.mount_home)}\n}}"
    )
