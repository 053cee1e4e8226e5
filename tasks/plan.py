"""From a config and its benchmarks to the jobs that a backend accepts; pure and deterministic."""

import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from proctor.blocks.job import Container, EnvVar, JobSpec, Mount, Server, Step
from proctor.blocks.lepton.shares import check_images
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import LeptonExecution, SlurmExecution
from proctor.configs.fields import base_folder, seconds_of
from proctor.configs.harness_config import check_harness_configs
from proctor.configs.lepton_endpoint import ENDPOINT_TOKEN, model_in_words
from proctor.configs.records import evaluation_tag
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.endpoint import Endpoint, endpoint, served_model
from proctor.tasks.environment import absolute, declared_mounts, env_vars, local, mounts, without_containers
from proctor.tasks.harness import run_config
from proctor.tasks.notes import notes
from proctor.tasks.resolve import Benchmark, resolve
from proctor.tasks.servers import server

CONTAINER_RESULTS = "/results"
HERE = ("local_dir", "ssh_config", "ssh_key_path", "ssh_control_path", "fetch_cache", "unresolvable", "max_walltime")
"""Settings of a cluster that say how this machine deals with it, not what is measured."""
FOLDER_TIME = "%Y%m%d_%H%M%S"
"""How the name of an evaluation's folder begins: when it was to start, in UTC."""
PATIENCE = ("patience", "poll_interval", "max_attempts", "stall_timeout", "stall_action")
"""Settings that say how an evaluation is watched, not what is measured."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that an evaluation is going to do."""

    evaluation: str
    output_dir: str
    """The evaluation's folder, absolute where the jobs run."""
    folder: str
    """Its folder on this machine, where the results are; the same where the jobs run here."""
    model: str
    config_hash: str
    benchmarks: tuple[Benchmark, ...]
    steps: tuple[str, ...]
    """The step of each benchmark, in the same order."""
    endpoints: tuple[Endpoint, ...]
    """What each benchmark asks, in the same order."""
    jobs: tuple[JobSpec, ...]
    notes: tuple[str, ...]
    """What was derived rather than written, for a person."""

    def benchmark(self, step: str) -> Benchmark:
        """The benchmark that a step runs."""
        return self.benchmarks[self.steps.index(step)]

    def endpoint(self, step: str) -> Endpoint:
        """The endpoint that a step asks."""
        return self.endpoints[self.steps.index(step)]


def plan(config: EvaluationConfig, evaluation: str, due: datetime) -> Plan:
    """The plan of an evaluation; the same arguments give an equal plan. Raises ConfigError."""
    check_harness_configs(config)
    benchmarks = resolve(config)
    require_trust(config)
    names = tuple(step_name(benchmark, index) for index, benchmark in enumerate(benchmarks))
    output_dir = evaluation_folder(config, evaluation, due)
    digest = config_hash(config)
    ours = server(config)
    asked = tuple(endpoint(config, benchmark) for benchmark in benchmarks)
    steps = tuple(
        step(config, benchmark, each, name, f"{output_dir}/{name}")
        for benchmark, each, name in zip(benchmarks, asked, names, strict=True)
    )
    planned = jobs(config, evaluation, output_dir, steps, ours)
    if isinstance(config.execution, LeptonExecution):
        for each in planned:
            check_images(each, config.execution)
    return Plan(
        evaluation=evaluation,
        output_dir=output_dir,
        folder=local_folder(config, evaluation, due),
        model=model_in_words(served_model(config)),
        config_hash=digest,
        benchmarks=benchmarks,
        steps=names,
        endpoints=asked,
        jobs=planned,
        notes=notes(config, benchmarks, asked, ours),
    )


def remaining(job: JobSpec, steps: Collection[str]) -> JobSpec:
    """The next attempt of a job: only these steps, in the same folders, so that their response caches count."""
    attempt = job.attempt + 1
    left = tuple(step for step in job.steps if step.name in steps)
    return replace(job, name=f"{job.name.rpartition('-')[0]}-{attempt}", steps=left, attempt=attempt)


def jobs(
    config: EvaluationConfig, evaluation: str, output_dir: str, steps: tuple[Step, ...], ours: Server | None
) -> tuple[JobSpec, ...]:
    """One job with every step, or one for each when every benchmark gets a server of its own."""
    alone = config.execution.server_per_benchmark and ours is not None
    parts = config.execution.split if isinstance(config.execution, SlurmExecution) else 1
    groups = [(each,) for each in steps] if alone else shares(steps, parts)
    execution = config.execution.model_dump_json(exclude={"output_dir", *PATIENCE, *HERE})
    return tuple(
        JobSpec(
            name=f"proctor-{evaluation}-{fingerprint(repr(group), repr(ours), execution)[:6]}-{index}-1",
            evaluation=evaluation,
            output_dir=output_dir,
            steps=group,
            server=ours,
            max_parallel=config.execution.parallel,
            labels={"proctor.evaluation": evaluation, "proctor.tag": evaluation_tag(evaluation)},
        )
        for index, group in enumerate(groups)
    )


def shares(steps: tuple[Step, ...], parts: int) -> list[tuple[Step, ...]]:
    """The steps dealt out to so many jobs, none of them empty."""
    return [steps[part::parts] for part in range(min(parts, len(steps)))]


def step(config: EvaluationConfig, benchmark: Benchmark, asked: Endpoint, name: str, folder: str) -> Step:
    """The step of one benchmark; `folder` is its output folder on the machine."""
    own, shared = benchmark.config, config.evaluation
    limit = own.timeout if own.timeout is not None else config.execution.benchmark_timeout
    return Step(
        name=name,
        benchmark=benchmark.name,
        container=container(config, benchmark, asked.key),
        run_config=run_config(config, benchmark, seen_folder(config, name, folder), asked),
        endpoint_url=asked.url,
        timeout=float(seconds_of(limit)) if limit is not None else None,
        pre_cmd=own.pre_cmd or shared.pre_cmd,
        post_cmd=own.post_cmd or shared.post_cmd,
    )


def seen_folder(config: EvaluationConfig, name: str, folder: str) -> str:
    """A step's output folder as its harness sees it."""
    if without_containers(config):
        return folder
    together = isinstance(config.execution, LeptonExecution) and config.execution.split is not None
    return f"{CONTAINER_RESULTS}/{name}" if together else CONTAINER_RESULTS


def container(config: EvaluationConfig, benchmark: Benchmark, key: str | None) -> Container:
    """The software environment of a benchmark, with its data and its variables; `key` is that of its endpoint."""
    if without_containers(config) and not benchmark.packages:
        raise ConfigError(
            f"evaluation.tasks: {benchmark.name} is known only as a container, which {nowhere(config)} cannot run; "
            "name its packages or choose another execution"
        )
    if (
        benchmark.image is None
        and not without_containers(config)
        and config.execution.type in {"local", "slurm", "lepton"}
    ):
        raise ConfigError(
            f"evaluation.tasks: {benchmark.name} has no container; name one as `container:` or choose execution: process"
        )
    own = benchmark.config
    if key == ENDPOINT_TOKEN:
        key = None  # the backend knows its value
    declared = env_vars(
        {key: f"host:{key}"} if key else {},
        config.env_vars,
        config.execution.env_vars,
        config.evaluation.env_vars,
        own.env_vars,
    )
    places = mounts(declared_mounts(config), config)
    data: tuple[EnvVar, ...] = ()
    if own.dataset_dir:
        source = absolute(own.dataset_dir, config)
        data = (
            EnvVar(
                "NEMO_EVALUATOR_DATASET_DIR", "lit", source if without_containers(config) else own.dataset_mount_path
            ),
        )
        places += (Mount(source, own.dataset_mount_path, read_only=True),)
    return Container(benchmark.image, benchmark.packages, (*declared, *data), places)


def nowhere(config: EvaluationConfig) -> str:
    """The setting that rules containers out."""
    return "execution: process" if config.execution.type == "process" else "execution.container_runtime: none"


def require_trust(config: EvaluationConfig) -> None:
    """Raise ConfigError for commands in the config that were not trusted explicitly."""
    shared = config.evaluation
    if shared.trust_pre_cmd:
        return
    for place, section in [
        ("evaluation", shared),
        *((f"evaluation.tasks[{task.name}]", task) for task in shared.tasks),
    ]:
        for key in ("pre_cmd", "post_cmd"):
            if getattr(section, key):
                raise ConfigError(
                    f"{place}.{key} is code from this config; to run it, set evaluation.trust_pre_cmd: true"
                )


def step_name(benchmark: Benchmark, index: int) -> str:
    """A folder name for a benchmark's output, unique in its evaluation."""
    safe = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in benchmark.short)
    return f"{safe}.{index}"


def evaluation_folder(config: EvaluationConfig, evaluation: str, due: datetime) -> str:
    """`<output_dir>/<UTC time>-<id>`. Raises ConfigError for a folder that cannot be used where the jobs run."""
    output_dir = config.execution.output_dir
    if config.execution.type == "slurm" and not output_dir.startswith("/"):
        raise ConfigError(f"execution.output_dir: {output_dir!r} must be absolute: it is a folder of the cluster")
    # the jobs of the cloud have folders of their own; this one is where their results come home to
    folder = local(output_dir, config) if config.execution.type == "lepton" else absolute(output_dir, config)
    if without_containers(config):
        require_plain(folder)
    return f"{folder}/{due.astimezone(UTC):{FOLDER_TIME}}-{evaluation}"


def require_plain(folder: str) -> None:
    """Raise ConfigError for a folder that means something to a shell: the commands of the harnesses do not quote it."""
    strange = re.search(r"[^\w./@%+=:,-]", folder)
    if strange:
        raise ConfigError(
            f"execution.output_dir: {folder!r} has {strange[0]!r} in it, and without a container the commands of the "
            "harnesses use it unquoted; choose a folder of letters, digits and ./@%+=:,-_"
        )


def local_folder(config: EvaluationConfig, evaluation: str, due: datetime) -> str:
    """The evaluation's folder on this machine: its only one, or where the results of a cluster come home to."""
    remote = evaluation_folder(config, evaluation, due)
    if not isinstance(config.execution, SlurmExecution):
        return remote
    home = (base_folder(config.base_dir) / Path(config.execution.local_dir).expanduser()).absolute()
    return str(home / remote.rpartition("/")[2])


def config_hash(config: EvaluationConfig) -> str:
    """SHA-256 over what decides the scores: everything but names, folders and how patiently we watch."""
    content = config.model_dump(mode="json", exclude={"name", "base_dir", "export"})
    for key in ("output_dir", *PATIENCE, *HERE):
        content["execution"].pop(key, None)
    return fingerprint(json.dumps(content, sort_keys=True))


def fingerprint(*texts: str) -> str:
    """SHA-256 of these texts, in hex."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
