"""The fields that the service knows in the bodies it is sent; it refuses all others."""

from collections.abc import Mapping
from typing import Any

from tests.lepton.wire import invalid

Schema = Mapping[str, "Schema | None"]
"""Known keys of an object (or of every object in a list); None for a value that is looked at elsewhere."""


def only(*names: str) -> dict[str, Schema | None]:
    """Keys with plain values."""
    return dict.fromkeys(names)


ENV: Schema = {**only("name", "value"), "value_from": only("secret_name_ref")}
MOUNT: Schema = {**only("from", "path", "mount_path"), "mount_options": only("local_cache_size_mib", "read_only")}
ATTACHMENT: Schema = {**only("data_source_name"), "attachments": only("mode", "attach_with", "profile_name")}
AFFINITY = only("allowed_providers", "allowed_dedicated_node_groups", "allowed_nodes_in_node_group")
PORT = only(
    "container_port", "protocol", "name", "expose_strategies", "app_protocol", "host_port", "enable_load_balancer"
)
NEW_PORT = only("container_port", "protocol", "app_protocol")
CONTAINER: Schema = {**only("image", "command"), "ports": PORT}
QUEUE = only("priority_class", "can_be_preempted", "can_preempt")
RESERVATION = only("reservation_id", "allow_burst_to_other_reservations")
SECURITY = only("no_specific_user", "privileged")
LOG = only("save_termination_logs", "enable_collection")
METRICS = only("disable_pulling_from_replica")
SCALER: Schema = {
    "scale_down": only("no_traffic_timeout", "not_ready_timeout"),
    "target_gpu_utilization_percentage": None,
    "target_throughput": only("qpm", "paths", "methods"),
}
HEALTH: Schema = {
    "readiness": only("require_approval"),
    "liveness": {"initial_delay_seconds": None, "tcp": only("port")},
}
TOKEN: Schema = {"value": None, "value_from": only("token_name_ref")}
ROUTING = only("enable_header_based_replica_routing")
SPREAD = only("replica_spread")

PART: Schema = {
    "envs": ENV,
    "mounts": MOUNT,
    "storage_attachments": ATTACHMENT,
    "queue_config": QUEUE,
    "reservation_config": RESERVATION,
    "user_security_context": SECURITY,
}
METADATA = only("id", "name", "labels", "visibility", "owner")
JOB: Schema = {
    "metadata": METADATA,
    "spec": {
        **PART,
        **only("resource_shape", "shared_memory_size", "completions", "parallelism", "image_pull_secrets", "stopped"),
        **only("max_failure_retry", "max_job_failure_retry", "ttl_seconds_after_finished", "intra_job_communication"),
        "affinity": AFFINITY,
        "container": CONTAINER,
        "metrics": METRICS,
        "log": LOG,
        "time_schedule": only("start_at"),
        "segment_config": only("count_per_segment"),
    },
}
RESOURCES: Schema = {
    **only("resource_shape", "cpu", "memory", "ephemeral_storage_in_gb", "accelerator_type", "accelerator_num"),
    **only("shared_memory_size", "min_replicas", "max_replicas", "host_network"),
    "affinity": AFFINITY,
}
ENDPOINT_WIDE: Schema = {
    **only("image_pull_secrets", "allow_unauthenticated_access", "ingress_enabled", "ingress_timeout_seconds"),
    "api_tokens": TOKEN,
    "log": LOG,
    "metrics": METRICS,
    "routing_policy": ROUTING,
}
LEGACY: Schema = {
    "metadata": METADATA,
    "spec": {
        **PART,
        **ENDPOINT_WIDE,
        **only("is_pod", "auth_config", "load_balance_config"),
        "container": CONTAINER,
        "resource_requirement": RESOURCES,
        "auto_scaler": SCALER,
        "health": HEALTH,
        "scheduling_policy": SPREAD,
    },
}
COMPONENT: Schema = {
    **PART,
    **only("name", "image", "command", "resource_shape", "min_replicas", "max_replicas", "shared_memory_size"),
    **only("host_network", "frontend"),
    "ports": NEW_PORT,
    "autoscaling": SCALER,
    "affinity": AFFINITY,
    "health": HEALTH,
    "scheduling_policy": SPREAD,
}
NEW: Schema = {
    "metadata": {"name": None, "lepton_metadata": only("visibility", "owner")},
    "spec": {**ENDPOINT_WIDE, **only("access_config", "load_balancing"), "components": COMPONENT},
}
SECRET = only("name", "value", "tags", "owner", "visibility")


def check_fields(value: Any, schema: Schema | None, where: str = "") -> None:
    """Refuse an unknown field, wherever it stands, and an object where there should be none."""
    if schema is None or value is None:
        return
    if isinstance(value, list):
        for each in value:
            check_fields(each, schema, where)
        return
    if not isinstance(value, dict):
        raise invalid(f"{where or 'the body'} must be an object")
    for key, inner in value.items():
        if key not in schema:
            raise invalid(f'json: unknown field "{where}{key}"')
        check_fields(inner, schema[key], f"{where}{key}.")


def merged(base: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386): null deletes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    found = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found
