"""Starting an evaluation: a run of the deployment of its backend."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from proctor.blocks.installed import require_installed
from proctor.blocks.render import render
from proctor.cli import stack, workers
from proctor.cli.address import here
from proctor.cli.api import AnswerLostError, PrefectApi
from proctor.cli.checks import check_cheaply
from proctor.cli.errors import CommandError, MistakeError
from proctor.cli.evaluations import FlowRun, read
from proctor.cli.variables import handed_over
from proctor.configs import records
from proctor.configs.execution_schema import BUILTIN_EXECUTIONS
from proctor.configs.host_env import forget, hand_over, user
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.mending import PREPARING
from proctor.tasks.plan import Plan, plan

SAMPLE_ID = "00000000"
"""Stands for the id that the evaluation does not have yet."""

CUSTOM = "custom"
"""The deployment that runs backends of other packages."""

Say = Callable[[str], None]


def start(config: EvaluationConfig, say: Say) -> tuple[PrefectApi, FlowRun]:
    """Check a config as far as this machine can, bring up what runs it, and start it. Raises ConfigError first."""
    require_installed(config.execution.type)
    planned = plan(config, SAMPLE_ID, datetime.now(UTC))
    require_sendable(config, planned)
    address = here()
    shared = address is None or address.on_this_machine
    if shared:
        require_sound(config, planned, say)
    handed = handed_over(config, planned.jobs, os.environ) if shared else {}
    found = stack.ensure(say)
    api = PrefectApi(found.address)
    if not found.own and (missing := workers.nobody(api)):
        say(missing)
    return api, create(api, config, planned.model, handed)


def require_sendable(config: EvaluationConfig, planned: Plan) -> None:
    """Raise ConfigError for what a backend of ours would not even show, as `--dry-run` does."""
    if config.execution.type in BUILTIN_EXECUTIONS:
        for job in planned.jobs:
            render(job, config.execution)


def require_sound(config: EvaluationConfig, planned: Plan, say: Say) -> None:
    """Say what the cheap checks find. Raises MistakeError for a problem; `proctor doctor` looks at more."""
    for finding in check_cheaply(config, planned):
        if finding.level == "problem":
            raise MistakeError(f"{finding.what}; {finding.do}")
        if finding.level == "warning":
            say(f"{finding.what}: {finding.do}")


def create(api: PrefectApi, config: EvaluationConfig, model: str, handed: Mapping[str, str]) -> FlowRun:
    """A run of `evaluate/<backend>`, named and tagged; it is let go only when the values it needs lie ready."""
    kind = config.execution.type if config.execution.type in BUILTIN_EXECUTIONS else CUSTOM
    deployment = api.get(f"/deployments/name/evaluate/{kind}")
    if deployment is None:
        raise CommandError(
            f"the Prefect server at {api.address.url} has no deployment evaluate/{kind}; `proctor up` or `prefect deploy` makes it"
        )
    if kind == CUSTOM and config.execution.type not in accepted(deployment):
        raise CommandError(
            f"the Prefect server at {api.address.url} was set up where {config.execution.type} was not installed yet; "
            "`proctor up` makes it known there, too"
        )
    parameters = {"config": config.model_dump(mode="json", exclude_unset=True)}
    waiting = {"type": "PENDING", "name": PREPARING}
    body = {"parameters": parameters, "state": waiting, "idempotency_key": str(uuid4())}
    body["labels"] = {records.WHO_LABEL: user()}
    row = api.post(f"/deployments/{deployment['id']}/create_flow_run", **body)
    run_id = str(row["id"])
    evaluation = records.evaluation_id(run_id)
    tags = [records.EVALUATION_TAG, records.evaluation_tag(evaluation)]
    name = f"{config.name or model} on {config.execution.type} {evaluation}"
    try:
        api.patch(f"/flow_runs/{run_id}", name=name, tags=tags)
        if handed:
            hand_over(evaluation, handed)
        let_go_once(api, run_id)
    except BaseException:
        take_back(api, run_id)
        raise
    return read(api, run_id)


def accepted(deployment: Mapping[str, Any]) -> list[str]:
    """The backends of other packages that a deployment accepts, as its schema says."""
    section = deployment["parameter_openapi_schema"]["definitions"]["CustomExecution"]
    return list(section["properties"]["type"].get("enum", []))


def take_back(api: PrefectApi, run_id: str) -> None:
    """Cancel a run that was created and must not start; where the server is away, `reconcile` finds it."""
    forget(records.evaluation_id(run_id))
    state = {"type": "CANCELLED", "message": "`proctor run` was interrupted before it had started it"}
    with suppress(CommandError):
        api.post(f"/flow_runs/{run_id}/set_state", state=state, force=True)


def let_go_once(api: PrefectApi, run_id: str) -> None:
    """The same as `let_go`, also where its answer is lost: asked again it could take the run away from its worker."""
    try:
        let_go(api, run_id)
    except AnswerLostError:
        if read(api, run_id).state == PREPARING:
            raise


def let_go(api: PrefectApi, run_id: str, name: str = "Scheduled") -> None:
    """From now on a worker may take it."""
    now = datetime.now(UTC).isoformat()
    state = {"type": "SCHEDULED", "name": name, "state_details": {"scheduled_time": now}}
    api.post(f"/flow_runs/{run_id}/set_state", state=state, force=True)
