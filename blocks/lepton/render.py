"""From a job to what the Lepton API is sent: an endpoint for the server, and one job for each benchmark; pure.

The documents are those of `POST /deployments` and `POST /jobs` (leptonai 0.47). `lepton://NAME` stands for the URL that
Lepton gives an endpoint once it is there.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from proctor.blocks.job import Container, EnvVar, JobSpec, Server, Step
from proctor.blocks.job_files import CONTAINER_JOB, CONTAINER_RESULTS, contained_script, order_file, step_files
from proctor.blocks.stages import step_marker
from proctor.configs.execution_schema import LeptonExecution

KEPT_SECONDS = 259200
"""How long Lepton remembers an ended job; its own default of ten minutes is shorter than an outage."""
IDLE_SECONDS = 86400
"""An endpoint without requests lives this long: scaling down in the middle of an evaluation would end it."""


def render(job: JobSpec, execution: LeptonExecution) -> str:
    """The documents as JSON, in the order in which they are sent; variables by name only."""
    parts = [f"# job {job.name}: {len(job.steps)} benchmarks, {job.max_parallel} at a time"]
    parts.append("# lepton://NAME stands for the URL that Lepton gives the endpoint NAME.")
    if job.server:
        parts += ["# POST /deployments", shown(endpoint(job, job.server, execution))]
    for index, step in enumerate(job.steps):
        parts += [f"# POST /jobs ({step.name})", shown(benchmark_job(job, step, index, execution))]
    return "\n".join(parts)


def shown(document: dict[str, Any]) -> str:
    """A document as a person reads it."""
    return json.dumps(without_none(document), indent=2)


def endpoint_name(job: JobSpec) -> str:
    """The endpoint's name, which fits Lepton's 36 characters."""
    return f"{job.name}-s"


def endpoint(job: JobSpec, server: Server, execution: LeptonExecution) -> dict[str, Any]:
    """The model server."""
    text = f"{server.pre_cmd}\n{server.command}" if server.pre_cmd and server.command else server.command
    group = execution.endpoint_node_group or execution.node_group
    return {
        "metadata": {"name": endpoint_name(job), "visibility": "private"},
        "spec": {
            "container": {
                "image": server.container.image,
                "ports": [{"container_port": server.port}],
                "command": ["/bin/sh", "-c", text] if text else None,
            },
            "resource_requirement": {
                "resource_shape": execution.endpoint_resource_shape or execution.resource_shape,
                "shared_memory_size": execution.shared_memory_size,
                "affinity": affinity(group),
                "min_replicas": execution.num_replicas,
                "max_replicas": execution.num_replicas,
            },
            "auto_scaler": {"scale_down": {"no_traffic_timeout": IDLE_SECONDS}},
            "envs": [*marker(job, "server"), *variables(server.container)],
            **shared(execution),
        },
    }


def benchmark_job(job: JobSpec, step: Step, index: int, execution: LeptonExecution) -> dict[str, Any]:
    """One benchmark, as a job of its own that nothing restarts behind our back."""
    return {
        "metadata": {
            "name": f"{job.name}-{index}",
            "visibility": "private",
            "labels": {"proctor.evaluation": job.evaluation, "proctor.job": job.name, "proctor.step": step.name},
        },
        "spec": {
            "resource_shape": execution.resource_shape,
            "affinity": affinity(execution.node_group),
            "container": {"image": step.container.image, "command": ["/bin/sh", "-c", script(job, step, execution)]},
            "shared_memory_size": execution.shared_memory_size,
            "completions": 1,
            "parallelism": 1,
            "max_failure_retry": 0,
            "max_job_failure_retry": 0,
            "ttl_seconds_after_finished": KEPT_SECONDS,
            "envs": [*marker(job, step.name), *variables(step.container)],
            **shared(execution),
        },
    }


def script(job: JobSpec, step: Step, execution: LeptonExecution) -> str:
    """The shell text of a benchmark: it writes what the wrapper reads, then becomes the wrapper."""
    alone = replace(job, steps=(placed(job, step),), server=None)
    folder = f"{CONTAINER_RESULTS}/.proctor"
    order = f"{CONTAINER_JOB}/.proctor/{order_file(job).name}"
    config = f"{folder}/{step_files(job, step.name).run_config.name}"
    lines = [
        f"mkdir -p {folder} {CONTAINER_JOB}/.proctor",
        f"printf '%s\\n' {shlex.quote(step.name)} >{shlex.quote(order)}",
    ]
    lines += [f"printf %s {shlex.quote(alone.steps[0].run_config)} >{shlex.quote(config)}"]
    return "\n".join([*lines, contained_script(alone, alone.steps[0], execution.endpoint_readiness_timeout)])


def placed(job: JobSpec, step: Step) -> Step:
    """The step with the endpoint's name where the plan could not know it yet."""
    if job.server is None:
        return step
    old, new = f"{UNNAMED}/", f"lepton://{endpoint_name(job)}/"
    return replace(step, endpoint_url=step.endpoint_url.replace(old, new), run_config=step.run_config.replace(old, new))


UNNAMED = "lepton://server"
"""The endpoint of the evaluation's own server in a plan."""


def variables(container: Container) -> list[dict[str, Any]]:
    """The environment of a container."""
    return [variable(each) for each in container.env]


def variable(each: EnvVar) -> dict[str, Any]:
    """One variable: a text, a secret of the workspace, or the name of one that is read at submission."""
    if each.source == "lit":
        return {"name": each.name, "value": each.value}
    if each.source == "runtime":
        return {"name": each.name, "value_from": {"secret_name_ref": each.value}}
    return {"name": each.name, "value": f"${{{each.source}:{each.value}}}"}


def marker(job: JobSpec, step: str) -> list[dict[str, Any]]:
    """What finds a job or an endpoint again when the answer to its creation was lost."""
    values = {
        "PROCTOR_EVALUATION": job.evaluation,
        "PROCTOR_JOB": job.name,
        "PROCTOR_STEP": step_marker(job.name, step),
    }
    return [{"name": name, "value": value} for name, value in values.items()]


def shared(execution: LeptonExecution) -> dict[str, Any]:
    """What endpoints and jobs have in common."""
    return {
        "mounts": [dict(mount) for mount in execution.mounts],
        "image_pull_secrets": list(execution.image_pull_secrets),
        "log": {"enable_collection": True},
        "queue_config": {"priority_class": execution.priority} if execution.priority else None,
    }


def affinity(node_group: str | None) -> dict[str, Sequence[str]] | None:
    """The node group, which submission turns from a name into an id."""
    return {"allowed_dedicated_node_groups": [node_group]} if node_group else None


def without_none(value: Any) -> Any:
    """A document without the keys that are not set."""
    if isinstance(value, dict):
        return {key: without_none(each) for key, each in value.items() if each is not None}
    return [without_none(each) for each in value] if isinstance(value, list) else value
