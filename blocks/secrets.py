"""The one place where the value of an environment variable is read: at the moment a job is submitted."""

import os
from collections.abc import Iterable
from typing import cast

from proctor.blocks.job import Container, EnvVar, JobSpec
from proctor.configs.errors import ConfigError
from proctor.configs.host_env import host_value


def resolve_env(container: Container, where: str) -> dict[str, str]:
    """Name and value of every variable of a container, except those that are only known where the job runs.

    Raises ConfigError, naming the variable and `where` it is needed but never a value, for one that is not there.
    """
    return {variable.name: value_of(variable, where) for variable in container.env if variable.source != "runtime"}


def value_of(variable: EnvVar, where: str) -> str:
    """The value of one variable."""
    if variable.source == "lit":
        return variable.value
    if variable.source == "secret":
        return secret_block(variable, where)
    value = host_value(variable.value, os.environ)
    if value is None:
        raise ConfigError(f"{where}: the variable that env_vars.{variable.name} names is not set where Proctor runs")
    return value


def secret_block(variable: EnvVar, where: str) -> str:
    """The text of a Prefect Secret block."""
    from prefect.blocks.system import Secret  # noqa: PLC0415 (a second that only users of secret blocks pay)

    try:
        block = cast(Secret[str], Secret.load(variable.value, _sync=True))  # type: ignore[call-arg]
    except ValueError as error:
        raise ConfigError(
            f"{where}: env_vars.{variable.name} names the Prefect Secret block {variable.value!r}, which does not exist"
        ) from error
    return str(block.get())


def runtime_names(container: Container) -> dict[str, str]:
    """Variables whose value is another variable of the machine where the job runs: name -> that name."""
    return {variable.name: variable.value for variable in container.env if variable.source == "runtime"}


def check_env(jobs: Iterable[JobSpec]) -> None:
    """Raise ConfigError for the first variable of these jobs that is not there."""
    for job in jobs:
        for step in job.steps:
            resolve_env(step.container, step.benchmark)
        if job.server:
            resolve_env(job.server.container, "deployment")
