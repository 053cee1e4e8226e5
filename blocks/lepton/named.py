"""Endpoints that a config names: found, believed only when they list the model, and never touched."""

import time
from collections.abc import Mapping
from typing import Any

import yaml

from proctor.blocks.errors import RejectedError, TransientError
from proctor.blocks.job import JobSpec, Step
from proctor.blocks.lepton.ledger import Ledger, keep
from proctor.blocks.lepton.render import needs_token
from proctor.blocks.lepton.servers import MODELS, Answer, asked
from proctor.blocks.lepton.states import Phase, endpoint_meaning
from proctor.blocks.lepton.workspace import SeenEndpoint, Workspace
from proctor.blocks.secrets import value_of
from proctor.configs.errors import ConfigError
from proctor.configs.lepton_endpoint import endpoint_in, planned_model

PLACE = "target.api_endpoint"
NO_TOKEN = "none"  # noqa: S105 (what a public endpoint is sent: a harness insists on something)


def connect(workspace: Workspace, page: Ledger, name: str) -> str:
    """Note where the endpoint is and which model it has; the answer is the token that its benchmarks send.

    Raises RejectedError or ConfigError for one that cannot be asked, TransientError while it may yet come up.
    """
    found = up(workspace, page, name)
    steps = [step for step in page.job.steps if endpoint_in(step.endpoint_url) == name]
    token = key_of(found, steps[0])
    answer = asked(found.url + MODELS, token or "")
    if token is not None and answer.status in {401, 403}:
        raise ConfigError(f"{PLACE}: the endpoint {name!r} refuses the key ({answer.why}); {advice(found, steps[0])}")
    if answer.status in {0, 429} or answer.status >= 500:
        raise waiting(workspace, page, f"the endpoint {name!r} does not answer yet: {MODELS} says {answer.why}")
    page.base, page.endpoint.at = found.url, 0.0
    page.models = answer.text if answer.status == 200 else ""
    for step in steps:
        page.model = model_of(name, step, answer) or page.model
    return token or NO_TOKEN


def up(workspace: Workspace, page: Ledger, name: str) -> SeenEndpoint:
    """The endpoint, which has an address."""
    found = workspace.endpoint(name)
    if found is None:
        near = ", ".join(sorted(each.name for each in workspace.endpoints())) or "none"
        raise RejectedError(f"{PLACE}.deployment_name: the workspace has no endpoint {name!r}; it has {near}")
    means = endpoint_meaning(found.state)
    if means.phase in {Phase.FAILED, Phase.STOPPED}:
        raise RejectedError(f"{PLACE}.deployment_name: the endpoint {name!r} {means.words}; start it first")
    if means.phase is not Phase.RUNNING or not found.url:
        raise waiting(workspace, page, f"the endpoint {name!r} {means.words}")
    return found


def waiting(workspace: Workspace, page: Ledger, why: str) -> TransientError | RejectedError:
    """The error for an endpoint that may yet come up; when it has not for too long, it is given up."""
    limit, now = workspace.execution.endpoint_readiness_timeout, time.time()
    page.endpoint.at = page.endpoint.at or now
    late = now > page.endpoint.at + limit
    if late:
        page.endpoint.at = 0.0
    keep(page)
    if late:
        return RejectedError(f"{why}; not within {limit:g} s (execution.endpoint_readiness_timeout)")
    return TransientError(why)


def key_of(found: SeenEndpoint, step: Step) -> str | None:
    """The key with which a step asks the endpoint, empty for none; None for one that only the workspace knows."""
    if needs_token(step):
        if found.token is None:
            raise ConfigError(
                f"{PLACE}: the token of {found.name!r} is not to be had from Lepton; {advice(found, step)}"
            )
        return found.token
    wanted = asks_for(step).get("api_key_name")
    variable = next((each for each in step.container.env if each.name == wanted), None)
    if variable is None:
        return found.token
    return None if variable.source == "runtime" else value_of(variable, step.benchmark)


def advice(found: SeenEndpoint, step: Step) -> str:
    """What to do about a key."""
    name = asks_for(step).get("api_key_name")
    if name and not needs_token(step):
        return f"check the value of {name} (api_key_name)"
    return "put it into a variable and name that as api_key_name"


def model_of(name: str, step: Step, answer: Answer) -> str:
    """The endpoint's model for a step that names none; empty for one that does. Raises ConfigError for a wrong one."""
    listed, wanted = answer.names(), asks_for(step).get("model_id")
    if planned_model(name) not in step.run_config:
        if wanted and listed and wanted not in listed:
            raise ConfigError(
                f"{PLACE}.model_id: the endpoint {name!r} has no model {wanted!r}; it lists {', '.join(listed)}"
            )
        return ""
    if len(listed) == 1:
        return listed[0]
    seen = f"it lists {', '.join(listed)}" if listed else f"it does not say which it has ({MODELS}: {answer.why})"
    raise ConfigError(f"{PLACE}.model_id is missing; name the model of the endpoint {name!r}: {seen}")


def asks_for(step: Step) -> Mapping[str, Any]:
    """What the run config of a step says about its endpoint."""
    document = yaml.safe_load(step.run_config)
    target = document.get("target") if isinstance(document, dict) else None
    endpoint = target.get("api_endpoint") if isinstance(target, dict) else None
    return endpoint if isinstance(endpoint, dict) else {}


def others(job: JobSpec, own: str) -> set[str]:
    """The names of the endpoints that a job asks, without that of its own server."""
    return {name for step in job.steps if (name := endpoint_in(step.endpoint_url)) and name != own}
