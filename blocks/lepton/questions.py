"""Questions to the SDK's client that need more than one of its methods, or less."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leptonai.api.v2 import APIClient


def sure_of_family(client: "APIClient") -> None:
    """Raise unless the workspace itself has said which family of endpoints it has; no request once it has.

    The SDK takes the old one when it could not learn that, and remembers it for the life of the process: what is then
    asked for would be made in, or looked for in, the wrong one.
    """
    from leptonai.api.v2 import reset_new_deployment_api_flag_cache  # noqa: PLC0415
    from leptonai.api.v2.client import DeploymentFeatureSnapshotMismatchError  # noqa: PLC0415

    try:
        client.deployment_feature_snapshot()
    except DeploymentFeatureSnapshotMismatchError:
        reset_new_deployment_api_flag_cache(client.url)
        client.deployment_feature_snapshot()


def job_page(query: Mapping[str, Any], client: "APIClient") -> list[Any]:
    """One page of jobs as Lepton sends it. The SDK leaves out what it cannot read: a full page would look like the last."""
    response = client._get("/jobs", params=dict(query))
    listed = client.job.ensure_json(response)
    jobs = listed.get("jobs") if isinstance(listed, dict) else listed
    if not isinstance(jobs, list):
        raise ValueError("a list of jobs that is none")
    return jobs


def removed(native_id: str, mode: str, client: "APIClient") -> None:
    """Ask for the removal of a job."""
    client.job.delete(native_id, job_query_mode=mode)
