"""Other spellings of our keys, all in one place: those of the two seed documents and NeMo Evaluator's own; pure.

A value moves from its alias to our key; where both stand with different values, that is the user's mistake to mend. The
alias stays readable for `${...}` until interpolations are resolved.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proctor.configs.errors import ConfigError
from proctor.configs.lepton_cache import mount_cache
from proctor.configs.source import KeyPath, dotted


def as_mounts(value: Any) -> Any:
    """NeMo Evaluator's `{SOURCE: TARGET}` as our `SOURCE:TARGET`."""
    return [f"{source}:{target}" for source, target in value.items()] if isinstance(value, dict) else value


def as_env(value: Any) -> Any:
    """Lepton's variables as ours: a plain value is the text itself, a workspace secret is read where the job runs."""
    if not isinstance(value, dict):
        return value
    return {name: lepton_variable(each) for name, each in value.items()}


def lepton_variable(value: Any) -> Any:
    """One variable of a Lepton section."""
    if isinstance(value, dict) and isinstance(value.get("value_from"), dict):
        return f"runtime:{value['value_from'].get('secret_name_ref')}"
    return f"lit:{value}" if isinstance(value, str | int | float) else value


def at_least_one(value: Any) -> Any:
    """A number of copies; with none there would be nothing to measure."""
    return max(1, value) if isinstance(value, int) else value


def as_nested(value: Any) -> Any:
    """`{config.params.temperature: 0}` as nested mappings."""
    if not isinstance(value, dict):
        return value
    result: dict[str, Any] = {}
    for key, each in value.items():
        *above, last = str(key).split(".")
        holder = result
        for name in above:
            holder = section(holder, name)
            if not isinstance(holder, dict):
                raise ConfigError(f"overrides: {key}: {name} has a value already, so nothing can stand below it")
        holder[last] = each
    return result


def as_destinations(value: Any) -> Any:
    """`auto_export` as a list of places, which is one of its two forms."""
    return value.get("destinations", []) if isinstance(value, dict) else value


@dataclass(frozen=True, slots=True)
class Alias:
    """Another spelling of a key; `*` stands for a position in a list."""

    old: str
    new: str
    convert: Callable[[Any], Any] | None = None
    execution: str | None = None
    """Only where this is the execution's type."""


ENDPOINT = "execution.lepton_platform.deployment"
DEFAULTS = f"{ENDPOINT}.platform_defaults"
SCALER = "deployment.lepton_config.auto_scaler"
OURS = "execution.endpoint.auto_scaler"
ALIASES = (
    # the seeds
    Alias("config", "evaluation.nemo_evaluator_config.config"),
    Alias("execution.time_limit", "execution.walltime"),
    Alias("deployment.model_path", "deployment.checkpoint_path"),
    Alias("deployment.model_id", "deployment.hf_model_handle"),
    # NeMo Evaluator's launcher
    Alias("execution.num_nodes", "execution.nodes"),
    Alias("execution.comment", "execution.sbatch_comment", None, "slurm"),
    Alias("execution.mounts.mount_home", "execution.mount_home"),
    Alias("execution.mounts.deployment", "deployment.mounts", as_mounts),
    Alias("execution.mounts.evaluation", "execution.container_mounts", as_mounts, "slurm"),
    Alias("execution.mounts.evaluation", "execution.mounts", as_mounts, "local"),
    Alias("execution.auto_export", "export.destinations", as_destinations),
    Alias("evaluation.config", "evaluation.nemo_evaluator_config.config"),
    Alias("evaluation.overrides", "evaluation.nemo_evaluator_config", as_nested),
    Alias("evaluation.tasks.*.config", "evaluation.tasks.*.nemo_evaluator_config.config"),
    Alias("evaluation.tasks.*.overrides", "evaluation.tasks.*.nemo_evaluator_config", as_nested),
    # its Lepton sections
    Alias("execution.evaluation_tasks.resource_shape", "execution.resource_shape"),
    Alias("execution.evaluation_tasks.timeout", "execution.benchmark_timeout"),
    Alias("execution.lepton_platform.tasks.node_group", "execution.node_group"),
    Alias("execution.lepton_platform.tasks.env_vars", "evaluation.env_vars", as_env),
    Alias("execution.lepton_platform.tasks.mounts", "execution.mounts"),
    Alias("execution.lepton_platform.tasks.image_pull_secrets", "execution.image_pull_secrets"),
    Alias(f"{ENDPOINT}.node_group", "execution.endpoint_node_group"),
    Alias(f"{ENDPOINT}.endpoint_readiness_timeout", "execution.endpoint_readiness_timeout"),
    Alias(f"{DEFAULTS}.image_pull_secrets", "execution.endpoint.image_pull_secrets"),
    Alias(f"{DEFAULTS}.queue_config.priority_class", "execution.endpoint.priority"),
    Alias(f"{DEFAULTS}.queue_config.can_be_preempted", "execution.endpoint.can_be_preempted"),
    Alias(f"{DEFAULTS}.user_security_context", "execution.endpoint.user_security_context"),
    Alias(f"{DEFAULTS}.health.liveness.initial_delay_seconds", "execution.endpoint.liveness_delay"),
    Alias("deployment.lepton_config.resource_shape", "execution.endpoint_resource_shape"),
    Alias("deployment.lepton_config.max_replicas", "execution.num_replicas"),
    Alias("deployment.lepton_config.min_replicas", "execution.endpoint.min_replicas", at_least_one),
    Alias(f"{SCALER}.target_gpu_utilization_percentage", f"{OURS}.target_gpu_utilization_percentage"),
    Alias(f"{SCALER}.target_throughput", f"{OURS}.target_throughput"),
    Alias("deployment.lepton_config.health.liveness.initial_delay_seconds", "execution.endpoint.liveness_delay"),
    Alias("deployment.lepton_config.envs", "deployment.env_vars", as_env),
)

NOT_NEEDED = {
    "user_config_path": "Proctor finds the file by itself",
    "execution.subproject": "jobs are named after the evaluation",
    "execution.cpu_partition": "scores are exported where Proctor runs, not by a job",
    "execution.env_var_names": "env_vars name the variables",
    "execution.evaluation_tasks": "results come home without it",
    f"{DEFAULTS}.log": "the logs of jobs and endpoints are always collected",
    f"{DEFAULTS}.enable_rdma": "Lepton's API has no such field",
    "execution.lepton_platform": "Proctor does not offer what is left of it",
    f"{SCALER}": "an endpoint stays up until its evaluation has ended",
    "deployment.lepton_config.api_tokens": "every endpoint gets a token of its own",
    "deployment.lepton_config.endpoint_name": "an endpoint is named after its evaluation",
    "deployment.lepton_config": "Proctor does not offer what is left of it",
    "deployment.multiple_instances": "execution.num_instances says how many servers run",
    "execution.deployment": "a server runs on all nodes of its job",
    "execution.mounts.auxiliary": "there are no auxiliary servers",
}
"""Keys of NeMo Evaluator that change nothing here, with what to know about it; they are named in the notes."""

REFUSED = {
    "auxiliary_deployments": "auxiliary servers are not supported; name a running judge in the benchmark's own config",
    "execution.proxy": "choosing a proxy is not supported; execution.num_instances alone places a load balancer",
    "execution.evaluation_gpu_visible": "benchmarks see the GPUs of their job; use env_vars for CUDA_VISIBLE_DEVICES",
    "target.api_endpoint.api_key": "a key must not stand in a config; write the NAME of its variable as api_key_name",
}
"""Keys that would change what runs and that we do not have: silence would be a wrong score."""


@dataclass(slots=True)
class Renamed:
    """What `apply_aliases` found."""

    original: dict[KeyPath, KeyPath] = field(default_factory=dict)
    """By our path: the path as it stands in the file."""
    notes: list[str] = field(default_factory=list)


def apply_aliases(tree: dict[str, Any]) -> Renamed:
    """Bring a tree to our spellings, in place. Raises ConfigError for keys we refuse and for contradictions."""
    found = Renamed()
    shapes(tree)
    for path, reason in REFUSED.items():
        if list(places(tree, tuple(path.split(".")))):
            raise ConfigError(f"{path}: {reason}")
    kind = execution_type(tree)
    mount_cache(tree)
    for alias in ALIASES:
        for place in list(places(tree, tuple(alias.old.split(".")))):
            if alias.execution in (None, kind) and not (
                alias.convert is as_mounts and isinstance(at(tree, place), list)
            ):
                move(tree, place, alias, found)
    for path, reason in NOT_NEEDED.items():
        if list(places(tree, tuple(path.split(".")))):
            take(tree, tuple(path.split(".")))
            found.notes.append(f"{path} is not used: {reason}")
    return found


def shapes(tree: dict[str, Any]) -> None:
    """Shorter forms of lists: benchmarks by name only, `evaluation:` as the list itself, one export format."""
    if isinstance(tree.get("evaluation"), list):
        tree["evaluation"] = {"tasks": tree["evaluation"]}
    tasks = at(tree, ("evaluation", "tasks"))
    if isinstance(tasks, list):
        tasks[:] = [{"name": task} if isinstance(task, str) else task for task in tasks]
    local = at(tree, ("export", "local"))
    if isinstance(local, dict) and isinstance(local.get("format"), str):
        local["format"] = [local["format"]]


def canonical(path: Sequence[str | int]) -> KeyPath:
    """A path in our spelling."""
    for alias in ALIASES:
        old = alias.old.split(".")
        if len(path) >= len(old) and all(b in ("*", str(a)) for a, b in zip(path, old, strict=False)):
            positions = iter([a for a, b in zip(path, old, strict=False) if b == "*"])
            return (*(next(positions) if each == "*" else each for each in alias.new.split(".")), *path[len(old) :])
    return tuple(path)


def converted(path: Sequence[str | int], value: Any) -> Any:
    """The value that belongs to `canonical(path)`."""
    alias = next(
        (each for each in ALIASES if each.old == ".".join("*" if isinstance(p, int) else p for p in path)), None
    )
    return alias.convert(value) if alias and alias.convert else value


def execution_type(tree: Mapping[str, Any]) -> str:
    """Which kind of execution a tree asks for."""
    execution = tree.get("execution")
    return str(execution.get("type", "local")) if isinstance(execution, Mapping) else "local"


def places(tree: Any, pattern: tuple[str, ...], above: KeyPath = ()) -> Iterator[KeyPath]:
    """The paths in a tree that a pattern fits."""
    if not pattern:
        yield above
    elif pattern[0] == "*" and isinstance(tree, list):
        for index, each in enumerate(tree):
            yield from places(each, pattern[1:], (*above, index))
    elif isinstance(tree, dict) and pattern[0] in tree:
        yield from places(tree[pattern[0]], pattern[1:], (*above, pattern[0]))


def move(tree: dict[str, Any], place: KeyPath, alias: Alias, found: Renamed) -> None:
    """Move one value to our key."""
    value = take(tree, place)
    new = canonical(place) if alias.execution is None else tuple(alias.new.split("."))
    put(tree, new, alias.convert(value) if alias.convert else value, place)
    found.original[new] = place


def below(value: Any, segment: str | int) -> Any:
    """The value under a key or position; None where there is none."""
    if isinstance(value, Mapping):
        return value.get(segment, value.get(str(segment)))
    if isinstance(value, list) and str(segment).isdigit() and int(segment) < len(value):
        return value[int(segment)]
    return None


def at(tree: Any, path: KeyPath) -> Any:
    """The value at a path; None where there is none."""
    for segment in path:
        tree = below(tree, segment)
    return tree


def take(tree: Any, path: KeyPath) -> Any:
    """Remove and return the value at a path, with the sections that become empty by it."""
    if len(path) == 1:
        return tree.pop(path[0])
    value = take(tree[path[0]], path[1:])
    if tree[path[0]] == {}:
        del tree[path[0]]
    return value


def put(tree: Any, path: KeyPath, value: Any, alias: KeyPath) -> None:
    """Set the value at a path; mappings merge, and a different value there is a contradiction."""
    for depth, name in enumerate(path[:-1], 1):
        tree = section(tree, name)
        if tree is None or (isinstance(tree, list) and not isinstance(path[depth], int)):
            raise ConfigError(f"{dotted(path[:depth])}: it must be a section of keys; {dotted(alias)} belongs into it")
    present = tree.get(path[-1])
    if isinstance(present, dict) and isinstance(value, dict):
        for key, each in value.items():
            put(present, (key,), each, (*alias, key))
    elif present not in (None, [], "???", value):
        raise ConfigError(f"{dotted(alias)} and {dotted(path)} are the same setting and differ; keep one of them")
    else:
        tree[path[-1]] = value


def section(tree: Any, name: str | int) -> Any:
    """The mapping or list under a key, made where there is none; None where something else stands there."""
    found = below(tree, name)
    if found is None and isinstance(tree, dict):
        found = tree[name] = {}
    return found if isinstance(found, dict | list) else None
