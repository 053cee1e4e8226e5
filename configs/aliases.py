"""Other spellings of our keys, all in one place: those of the two seed documents and NeMo Evaluator's own; pure.

A value moves from its alias to our key. Where both stand with different values, that is the user's mistake to mend.
"""

from collections.abc import Mapping
from typing import Any

from proctor.configs.errors import ConfigError

ALIASES = (
    # the seeds
    ("execution.time_limit", "execution.walltime"),
    ("deployment.model_path", "deployment.checkpoint_path"),
    ("deployment.model_id", "deployment.hf_model_handle"),
    ("config", "evaluation.nemo_evaluator_config.config"),
    # NeMo Evaluator's launcher
    ("execution.num_nodes", "execution.nodes"),
    ("execution.mounts.evaluation", "execution.container_mounts"),
    ("execution.mounts.deployment", "deployment.mounts"),
    ("execution.mounts.mount_home", "execution.mount_home"),
    ("execution.auto_export.destinations", "export.destinations"),
    ("execution.evaluation_tasks.resource_shape", "execution.resource_shape"),
    ("execution.lepton_platform.tasks.node_group", "execution.node_group"),
    ("execution.lepton_platform.tasks.env_vars", "execution.env_vars"),
    ("execution.lepton_platform.tasks.mounts", "execution.mounts"),
    ("execution.lepton_platform.tasks.image_pull_secrets", "execution.image_pull_secrets"),
    ("deployment.lepton_config.resource_shape", "execution.endpoint_resource_shape"),
)

MISSING = object()


def apply_aliases(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with our own spellings only. Raises ConfigError where alias and key disagree."""
    result: dict[str, Any] = copied(config)
    tasks = result.get("evaluation")
    if isinstance(tasks, list):
        result["evaluation"] = {"tasks": tasks}
    for alias, key in ALIASES:
        value = take(result, alias.split("."))
        if value is not MISSING:
            put(result, key.split("."), as_ours(key, value), alias)
    return result


def as_ours(key: str, value: Any) -> Any:
    """NeMo Evaluator writes mounts as `{host: container}`; we write `host:container`."""
    if key.endswith("mounts") and isinstance(value, dict):
        return [f"{source}:{target}" for source, target in value.items()]
    return value


def copied(value: Any) -> Any:
    """A deep copy of plain values."""
    if isinstance(value, Mapping):
        return {key: copied(each) for key, each in value.items()}
    return [copied(each) for each in value] if isinstance(value, list) else value


def take(tree: Any, path: list[str]) -> Any:
    """Remove and return the value at a path, and the sections that become empty by it; MISSING when it is not there."""
    if not isinstance(tree, dict) or path[0] not in tree:
        return MISSING
    if len(path) == 1:
        return tree.pop(path[0])
    value = take(tree[path[0]], path[1:])
    if value is not MISSING and tree[path[0]] == {}:
        del tree[path[0]]
    return value


def put(tree: dict[str, Any], path: list[str], value: Any, alias: str) -> None:
    """Set the value at a path; mappings merge, and a different value there is a contradiction."""
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    last = path[-1]
    present = tree.get(last)
    if isinstance(present, dict) and isinstance(value, dict):
        for key, each in value.items():
            put(present, [key], each, f"{alias}.{key}")
    elif present not in (None, [], value):
        raise ConfigError(f"{alias} and {'.'.join(path)} are the same setting but differ; keep one of them")
    else:
        tree[last] = value
