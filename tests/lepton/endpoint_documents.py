"""An endpoint on the wire, in both families."""

import copy
import time
from typing import Any

from tests.lepton.workload import Workload, iso, milliseconds
from tests.lepton.world import World

OWNER = {"created_by": "me@example.com", "owner": "me@example.com"}
FOLDED = frozenset({"Stopping", "Stopped"})
"""States that the legacy family shows as `Not Ready`, and tells in `phase`."""
REASONS = {"Ready": "Ready", "Error": "SystemError", "Deleting": "Deleting", "Queueing": "Queueing"}


def document(world: World, endpoint: Workload, url: str, *, created: bool) -> dict[str, Any]:
    """The endpoint in the family of its workspace; the answer to its creation holds a generated token."""
    spec = copy.deepcopy(endpoint.spec)
    if endpoint.generated_token:
        spec["api_tokens"] = [{"value": endpoint.generated_token if created else "***"}]
    if world.redact_tokens and not created:
        spec["api_tokens"] = [redacted(each) for each in spec.get("api_tokens") or []]
    shown = "" if time.time() - endpoint.created < world.url_lag else url
    return (legacy if world.family == "legacy" else new)(endpoint, spec, shown)


def redacted(token: dict[str, Any]) -> dict[str, Any]:
    """A token whose literal value nobody sees."""
    return {**token, "value": "***"} if "value" in token else token


def legacy(endpoint: Workload, spec: dict[str, Any], url: str) -> dict[str, Any]:
    """The document at /deployments."""
    phase = spaced(endpoint.state())
    metadata = {"id": endpoint.id, "name": endpoint.name, "created_at": milliseconds(endpoint.created)}
    status = {
        "state": "Not Ready" if phase in FOLDED else phase,
        "phase": phase,
        "endpoint": {"internal_endpoint": "", "external_endpoint": url},
    }
    return {"metadata": metadata | OWNER | endpoint.metadata, "spec": spec, "status": status}


def new(endpoint: Workload, spec: dict[str, Any], url: str) -> dict[str, Any]:
    """The document at /endpoints."""
    version = endpoint.metadata["version"]
    metadata: dict[str, Any] = {
        "id": endpoint.id,
        "name": endpoint.name,
        "created_at": milliseconds(endpoint.created),
        "version": version,
        "resource_version": str(version),
        "lepton_metadata": {**OWNER, "visibility": endpoint.metadata["visibility"]},
    }
    if endpoint.deleting is not None:
        metadata["deleted_at"] = milliseconds(endpoint.deleting)
    state = endpoint.state()
    status: dict[str, Any] = {"state": state.replace(" ", ""), "external_url": url}
    if state == "Ready":
        status["ready_replicas"] = endpoint.blueprint.replicas
    return {"metadata": metadata, "spec": spec, "status": status}


def spaced(state: str) -> str:
    """The legacy spelling of a state."""
    return "Not Ready" if state == "NotReady" else state


def readiness(endpoint: Workload) -> dict[str, list[dict[str, str]]]:
    """`GET /deployments/NAME/readiness`."""
    state = endpoint.state()
    reason = REASONS.get(state, "InProgress")
    issue = {"reason": reason, "message": f"the replica is {state}", "creationTimestamp": iso(endpoint.created)}
    return {replica: [issue] for replica in endpoint.replicas()}
