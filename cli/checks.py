"""Checks of a whole config: all of them for `proctor doctor`, the cheap ones for every `proctor run`."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from proctor.blocks.finding import Finding, ok, problem, warning
from proctor.blocks.folders_check import check_folders, mount_sources
from proctor.cli import stack
from proctor.cli.errors import CommandError
from proctor.cli.variables import host_variables, unset
from proctor.configs.execution_schema import LeptonExecution, LocalExecution
from proctor.configs.export_schema import ENVIRONMENT
from proctor.configs.lepton_endpoint import endpoint_in
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.plan import Plan, plan

if TYPE_CHECKING:
    from proctor.blocks.job import Step
    from proctor.tasks.endpoint import Endpoint

SAMPLE_ID = "00000000"
"""Stands for the id of an evaluation that is not started."""
LIBRARIES = {"mlflow": "mlflow", "wandb": "wandb", "gsheets": "gspread"}
HERE = ("local", "process", "simulated")
"""Executions whose folders are this machine's."""


def check_config(config: EvaluationConfig) -> Iterator[Finding]:
    """Everything that can be known before it is started. Raises ConfigError for a mistake in the config."""
    planned = plan(config, SAMPLE_ID, datetime.now(UTC))
    yield from (Finding("ok", note) for note in planned.notes)
    yield from check_variables(planned)
    yield from check_backend(config, planned)
    if config.deployment.type == "none":
        yield from check_endpoints(config, planned)
    yield from check_destinations(config)


def check_cheaply(config: EvaluationConfig, planned: Plan) -> Iterator[Finding]:
    """What costs no connection: folders and mounts, where the jobs run on this machine."""
    environment = stack.workers_environment()
    remote = getattr(config.execution, "docker_host", None) or environment.get("DOCKER_HOST", "").partition(":")[0]
    if config.execution.type in HERE and remote in {"", None, "unix"}:
        mounts = mount_sources(planned.jobs) if config.execution.type == "local" else []
        yield from check_folders(config.execution.output_dir, mounts)
    if isinstance(config.execution, LocalExecution):
        from proctor.blocks.docker.doctor import check_socket  # noqa: PLC0415 (only where containers run)

        yield from check_socket(config.execution, environment)
    if isinstance(config.execution, LeptonExecution):
        yield from check_lepton(config.execution, planned)
    yield from check_destinations(config)


def check_lepton(execution: LeptonExecution, planned: Plan) -> Iterator[Finding]:
    """Whether the cloud's SDK is here, folders lie on volumes, and results can come home. Raises ConfigError if not."""
    from proctor.blocks.lepton.homecoming import check  # noqa: PLC0415
    from proctor.blocks.lepton.render import render  # noqa: PLC0415

    if find_spec("leptonai") is None:
        yield warning("execution: lepton needs the Lepton SDK", "pip install 'proctor[lepton]' where the worker runs")
    check(execution)
    for job in planned.jobs:
        render(job, execution)


def check_variables(planned: Plan) -> Iterator[Finding]:
    """The variables that the config names."""
    if elsewhere_worker():
        names = ", ".join(sorted(host_variables(planned.jobs)))
        if names:
            advice = "see that they are set in its environment"
            yield warning(
                f"the worker is on another machine, and this shell cannot tell whether it knows {names}", advice
            )
        return
    missing = unset(planned.jobs, os.environ)
    for name in missing:
        yield problem(f"the environment variable {name} is not set", f"export {name}=…, where `proctor run` is called")
    if not missing:
        yield ok("every environment variable that the config names is set")


def check_backend(config: EvaluationConfig, planned: Plan) -> Iterator[Finding]:
    """What the backend says about these jobs."""
    from proctor.blocks.registry import make_backend  # noqa: PLC0415 (Prefect: a second that only a doctor may take)

    if config.execution.type in HERE and elsewhere_worker():
        yield warning("the worker is on another machine; what follows is about this one", "call proctor doctor there")
    yield from make_backend(config.execution).examine(planned.jobs)


def elsewhere_worker() -> bool:
    """Whether evaluations run on another machine than this: the Prefect server that this shell names is not here."""
    from proctor.cli.address import here  # noqa: PLC0415

    address = here()
    return address is not None and not address.on_this_machine


def check_endpoints(config: EvaluationConfig, planned: Plan) -> Iterator[Finding]:
    """One real request for each kind that the benchmarks need, with the key that they will use."""
    from proctor.blocks.endpoint_check import check_endpoint  # noqa: PLC0415 (httpx)

    asked: set[Endpoint] = set()
    for step in (step for job in planned.jobs for step in job.steps):
        each = planned.endpoint(step.name)
        if each in asked or elsewhere(config, step):
            continue
        asked.add(each)
        yield check_endpoint(each.url, each.model, each.type, os.environ.get(each.key) if each.key else None)


def elsewhere(config: EvaluationConfig, step: "Step") -> bool:
    """Whether an address means another machine than this one, so that asking here says nothing."""
    remote = config.execution.type in {"slurm", "lepton"}
    return (
        not step.endpoint_url
        or bool(endpoint_in(step.endpoint_url))
        or (remote and any(each in step.endpoint_url for each in ("localhost", "127.0.0.1")))
    )


def check_destinations(config: EvaluationConfig) -> Iterator[Finding]:
    """Whether the libraries of the destinations are here, and what they need to know."""
    for destination in config.export.destinations:
        library = LIBRARIES.get(destination)
        if library and find_spec(library) is None:
            advice = f"pip install 'proctor[{destination}]' where the worker runs"
            yield warning(f"scores cannot be exported to {destination} from here: {library} is not installed", advice)
    mlflow = config.export.mlflow.tracking_uri or os.environ.get(ENVIRONMENT["mlflow"][0])
    if "mlflow" in config.export.destinations and not mlflow:
        yield warning("no MLflow server is named", "set export.mlflow.tracking_uri, or MLFLOW_TRACKING_URI")
    if urlsplit(config.export.mlflow.tracking_uri or "").username:
        advice = (
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the whole address as MLFLOW_TRACKING_URI"
        )
        yield warning("export.mlflow.tracking_uri holds a login, which Prefect stores with the evaluation", advice)
    if "gsheets" in config.export.destinations and not config.export.gsheets.spreadsheet:
        yield warning("no spreadsheet is named", "set export.gsheets.spreadsheet")


def check_server() -> Finding:
    """Whether there is a Prefect server, and a worker that would run an evaluation."""
    from proctor.cli import workers  # noqa: PLC0415 (httpx)
    from proctor.cli.address import here  # noqa: PLC0415
    from proctor.cli.api import PrefectApi, ServerAwayError, known_address  # noqa: PLC0415

    try:
        api = PrefectApi(known_address())
        missing = workers.nobody(api)
    except CommandError as error:
        if here() is not None:
            return problem(error.message, "start the server, or correct PREFECT_API_URL")
        if isinstance(error, ServerAwayError):
            return ok("this machine's Prefect server is down: `proctor run` starts it again")
        return ok("no Prefect server is named: `proctor run` starts this machine's own")
    return warning(missing, "start a worker") if missing else ok(f"Prefect at {api.address.url} has a worker")
