"""From a job to what the Lepton API is sent: an endpoint for the server, and one job for each benchmark; pure.

The documents are those of `POST /deployments` and `POST /jobs` (leptonai 0.47). `lepton://NAME` stands for the URL that
Lepton gives an endpoint once it is there.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from proctor.blocks.job import Container, EnvVar, JobHandle, JobSpec, Server, Step
from proctor.blocks.lepton.joint import joint_mounts, joint_variables
from proctor.blocks.lepton.script import Route, job_script
from proctor.blocks.lepton.shares import Share, check_image, shares, steps_of
from proctor.blocks.lepton.volumes import volume_mounts
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import LeptonExecution
from proctor.configs.fields import Section
from proctor.configs.lepton_endpoint import ENDPOINT_TOKEN, SERVER_NAME, endpoint_in, planned_base

KEPT_SECONDS = 259200
"""How long Lepton remembers an ended job; its own default of ten minutes is shorter than an outage."""
IDLE_SECONDS = 604800
"""An endpoint without requests lives this long: scaling down in the middle of an evaluation would end it."""
RESULTS_URL = "PROCTOR_RESULTS_URL"
"""The variable that holds where a job uploads its results to."""
NEED_ACCELERATORS = ("vllm", "sglang", "nim")
SMALLEST = "smallest-with-accelerators"
"""Stands for the shape that is chosen for such a server among those that the workspace has."""
LONGEST = 131_000
"""Bytes of a job's script: Linux takes no longer argument of a command (MAX_ARG_STRLEN)."""


def render(job: JobSpec, execution: LeptonExecution) -> str:
    """The documents as JSON, in the order in which they are sent; variables by name only."""
    parts = [f"# job {job.name}: {len(job.steps)} benchmarks, {job.max_parallel} at a time"]
    parts.append("# lepton://NAME stands for the URL that Lepton gives the endpoint NAME.")
    parts += [f"# POST /usersecrets: {secret}, {origin}" for secret, origin in sorted(made_secrets(job).items())]
    if job.server:
        if server_shape(job.server, execution) == SMALLEST:
            parts.append(
                f"# {SMALLEST} stands for that shape of the workspace; execution.endpoint_resource_shape names one."
            )
        parts += ["# POST /deployments", shown(endpoint(job, job.server, execution))]
    for share in shares(job, execution):
        parts += [f"# POST /jobs ({', '.join(share.steps)})", shown(benchmark_job(job, share, execution))]
    return "\n".join(parts)


def made_secrets(job: JobSpec) -> dict[str, str]:
    """The secrets of the workspace that hold a job's variables until its end, and where their values come from."""
    containers = [step.container for step in job.steps] + ([job.server.container] if job.server else [])
    wanted = [each for container in containers for each in travelling(container)]
    return {secret_of(job, each): f"{each.source}:{each.value}" for each in wanted}


def shown(document: dict[str, Any]) -> str:
    """A document as a person reads it."""
    return json.dumps(without_none(document), indent=2)


def endpoint_name(job: JobSpec | JobHandle) -> str:
    """The endpoint's name, which fits Lepton's 36 characters."""
    return f"{job.name}-s"


def endpoint(job: JobSpec, server: Server, execution: LeptonExecution) -> dict[str, Any]:
    """The model server. Its token is a secret of the workspace, which only this evaluation's benchmarks are given."""
    group = execution.endpoint_node_group or execution.node_group
    command, own = start_command(server), execution.endpoint
    return {
        "metadata": {"name": endpoint_name(job), "visibility": "private"},
        "spec": {
            "container": {
                "image": server.container.image,
                "ports": [{"container_port": server.port}],
                "command": ["/bin/sh", "-c", command] if command else None,
            },
            "resource_requirement": {
                "resource_shape": server_shape(server, execution),
                "shared_memory_size": first(own.shared_memory_size, execution.shared_memory_size),
                "affinity": affinity(group),
                "min_replicas": first(own.min_replicas, execution.num_replicas),
                "max_replicas": max(own.min_replicas or 1, execution.num_replicas),
            },
            "auto_scaler": {"scale_down": {"no_traffic_timeout": IDLE_SECONDS}, **given(own.auto_scaler)},
            "health": {"liveness": {"initial_delay_seconds": own.liveness_delay}} if own.liveness_delay else None,
            "user_security_context": given(own.user_security_context) or None,
            "api_tokens": [{"value_from": {"token_name_ref": secret_name(job, ENDPOINT_TOKEN)}}],
            "envs": [*marker(job), *variables(job, server.container)],
            "mounts": volume_mounts(server.container, execution),
            **in_common(for_endpoint(execution), own.can_be_preempted),
        },
    }


def server_shape(server: Server, execution: LeptonExecution) -> str:
    """The shape of the model server; SMALLEST where nothing names one and it cannot do without accelerators."""
    if execution.endpoint_resource_shape:
        return execution.endpoint_resource_shape
    unnamed = execution.resource_shape == LeptonExecution.model_fields["resource_shape"].default
    return SMALLEST if unnamed and server.kind in NEED_ACCELERATORS else execution.resource_shape


def benchmark_job(job: JobSpec, share: Share, execution: LeptonExecution, route: Route | None = None) -> dict[str, Any]:
    """One benchmark, or several one after the other, as a job that nothing restarts behind our back.

    Raises ConfigError for benchmarks that cannot share a job.
    """
    steps = steps_of(job, share)
    check_image(steps)
    joint = joint_variables([step_variables(job, step, execution) for step in steps])
    mounts = [volume_mounts(step.container, execution) for step in steps]
    script = job_script(job, share, steps, execution, route or unknown_route(job), joint.own)
    if share.together and len(script.encode()) > LONGEST:
        raise ConfigError(
            f"execution.split: {len(steps)} benchmarks are too many for one job: its script has {len(script.encode())} "
            f"bytes, and a command may have {LONGEST}; raise split"
        )
    labels = {"proctor.evaluation": job.evaluation, "proctor.job": job.name}
    return {
        "metadata": {
            "name": share.name,
            "visibility": "private",
            "labels": labels if share.together else {**labels, "proctor.step": share.steps[0]},
        },
        "spec": {
            "resource_shape": execution.resource_shape,
            "affinity": affinity(execution.node_group),
            "container": {"image": steps[0].container.image, "command": ["/bin/sh", "-c", script]},
            "shared_memory_size": execution.shared_memory_size,
            "completions": 1,
            "parallelism": 1,
            "max_failure_retry": 0,
            "max_job_failure_retry": 0,
            "ttl_seconds_after_finished": KEPT_SECONDS,
            "envs": [*marker(job), *joint.documents],
            "mounts": [*joint_mounts(mounts), *result_mounts(job, share, execution)],
            **in_common(execution),
        },
    }


def result_mounts(job: JobSpec, share: Share, execution: LeptonExecution) -> list[dict[str, Any]]:
    """The output folders on the volume that this machine sees too."""
    results = execution.results
    if results.via != "mount":
        return []
    below = job.output_dir.rstrip("/").rpartition("/")[2]
    path = "/".join([results.path.rstrip("/"), below])
    return [
        {"from": results.volume, "path": f"{path}/{step}", "mount_path": share.folder(step)} for step in share.steps
    ]


def travelling(container: Container) -> list[EnvVar]:
    """Variables whose values are read where Proctor runs, and travel as secrets of the workspace."""
    return [each for each in container.env if each.source in {"host", "secret"}]


def step_variables(job: JobSpec, step: Step, execution: LeptonExecution) -> list[dict[str, Any]]:
    """The environment of a benchmark: its own, the endpoint's token, and where its results go."""
    extra = [ENDPOINT_TOKEN] if needs_token(step) else []
    extra += [RESULTS_URL] if execution.results.via == "object" else []
    names = {ENDPOINT_TOKEN: secret_name(job, ENDPOINT_TOKEN), RESULTS_URL: upload_secret(job, step)}
    declared = {each.name for each in step.container.env}
    return [*variables(job, step.container), *(referring(each, names[each]) for each in extra if each not in declared)]


def needs_token(step: Step) -> bool:
    """Whether a benchmark asks an endpoint of the workspace whose token we know."""
    return bool(endpoint_in(step.endpoint_url)) and ENDPOINT_TOKEN in step.run_config


def secret_name(job: JobSpec | JobHandle, variable: str) -> str:
    """The workspace secret that holds a value of this job until its end."""
    return f"{job.name}.{variable}"


def secret_of(job: JobSpec | JobHandle, each: EnvVar) -> str:
    """That of a variable: one name in two containers may have two values, so its origin is part of the name."""
    origin = hashlib.sha256(f"{each.source}:{each.value}".encode()).hexdigest()[:6]
    return secret_name(job, f"{each.name}.{origin}")


def upload_secret(job: JobSpec | JobHandle, step: Step) -> str:
    """The workspace secret that holds where a step's results are uploaded to."""
    return secret_name(job, f"{RESULTS_URL}.{step.name}")


def unknown_route(job: JobSpec) -> Route:
    """The route before Lepton has named the endpoint of the evaluation's own server."""
    return Route(SERVER_NAME, planned_base(endpoint_name(job)))


def variables(job: JobSpec, container: Container) -> list[dict[str, Any]]:
    """The environment of a container."""
    return [variable(job, each) for each in container.env]


def variable(job: JobSpec, each: EnvVar) -> dict[str, Any]:
    """One variable: a text, a secret that the workspace has, or one that is made for this job."""
    if each.source == "lit":
        return {"name": each.name, "value": each.value}
    return referring(each.name, each.value if each.source == "runtime" else secret_of(job, each))


def referring(name: str, secret: str) -> dict[str, Any]:
    """A variable whose value is a secret of the workspace."""
    return {"name": name, "value_from": {"secret_name_ref": secret}}


def marker(job: JobSpec) -> list[dict[str, Any]]:
    """What finds a job or an endpoint again when the answer to its creation was lost."""
    values = {"PROCTOR_EVALUATION": job.evaluation, "PROCTOR_JOB": job.name}
    return [{"name": name, "value": value} for name, value in values.items()]


def start_command(server: Server) -> str | None:
    """What an endpoint runs; None leaves it to the image."""
    return "\n".join(each for each in (server.pre_cmd, server.command) if each) if server.command else None


def for_endpoint(execution: LeptonExecution) -> LeptonExecution:
    """The section as it counts for the model server."""
    own = execution.endpoint
    together = execution.endpoint_node_group in {None, execution.node_group}
    return execution.model_copy(
        update={
            "image_pull_secrets": first(own.image_pull_secrets, execution.image_pull_secrets),
            "priority": own.priority or execution.priority,
            "reservation": own.reservation or (execution.reservation if together else None),
        }
    )


def first(*values: Any) -> Any:
    """The first value that is set."""
    return next((each for each in values if each is not None), None)


def given(section: Section | None) -> dict[str, Any]:
    """The keys of a part that are set."""
    return section.model_dump(exclude_none=True) if section else {}


def in_common(execution: LeptonExecution, can_be_preempted: bool | None = None) -> dict[str, Any]:
    """What endpoints and jobs have in common."""
    queue = {"priority_class": execution.priority, "can_be_preempted": can_be_preempted}
    return {
        "image_pull_secrets": list(execution.image_pull_secrets),
        "log": {"enable_collection": True},
        "queue_config": queue if any(each is not None for each in queue.values()) else None,
        "reservation_config": {"reservation_id": execution.reservation} if execution.reservation else None,
    }


def affinity(node_group: str | None) -> dict[str, Sequence[str]] | None:
    """The node group, which submission turns from a name into an id."""
    return {"allowed_dedicated_node_groups": [node_group]} if node_group else None


def without_none(value: Any) -> Any:
    """A document without the keys that are not set."""
    if isinstance(value, dict):
        return {key: without_none(each) for key, each in value.items() if each is not None}
    return [without_none(each) for each in value] if isinstance(value, list) else value
