"""The one place where the value of an environment variable is read: at the moment a job is submitted."""

import os
from collections.abc import Iterable
from typing import cast

from proctor.blocks.errors import TransientError
from proctor.blocks.job import Container, EnvVar, JobSpec, Server, Step
from proctor.configs.errors import ConfigError
from proctor.configs.host_env import host_value

SHORTEST = 6
"""Characters of a value that is hidden; shorter ones are `true`, `1` or a name."""


def resolve_env(container: Container, where: str) -> dict[str, str]:
    """Name and value of every variable of a container, except those that are only known where the job runs.

    Raises ConfigError, naming the variable and `where` it is needed but never a value, for one that is not there, and TransientError while Prefect's server cannot be asked for a secret.
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
    import httpx  # noqa: PLC0415 (comes with prefect)
    from prefect.blocks.system import Secret  # noqa: PLC0415 (a second that only users of secret blocks pay)

    try:
        block = cast(Secret[str], Secret.load(variable.value, _sync=True))  # type: ignore[call-arg]
    except ValueError as error:
        raise ConfigError(
            f"{where}: env_vars.{variable.name} names the Prefect Secret block {variable.value!r}, which does not exist"
        ) from error
    except httpx.TransportError as error:
        raise TransientError(
            f"{where}: Prefect's server does not answer, so the Secret block of env_vars.{variable.name} cannot be read"
        ) from error
    return str(block.get())


def hidden(text: str, jobs: Iterable[JobSpec]) -> str:
    """What a harness or a server said, without the secrets that these jobs were given: their names stand in their place.

    Harnesses say them in their last words, as in `Illegal header value b'Bearer ...'`, and those are quoted in Prefect.
    """
    holders: list[Step | Server] = [each for job in jobs for each in (*job.steps, job.server) if each]
    for variable in dict.fromkeys(each for holder in holders for each in holder.container.env):
        for line in known_value(variable).splitlines() if variable.source in {"host", "secret"} else ():
            if len(line.strip()) >= SHORTEST:
                text = text.replace(line.strip(), f"<{variable.name}>")
    return text


def known_value(variable: EnvVar) -> str:
    """The value of a variable as far as it can be had now."""
    try:
        return value_of(variable, "quoting")
    except (ConfigError, TransientError):
        return ""


def runtime_names(container: Container) -> dict[str, str]:
    """Variables whose value is another variable of the machine where the job runs: name -> that name."""
    return {variable.name: variable.value for variable in container.env if variable.source == "runtime"}


def runtime_value(name: str, source: str, where: str) -> str:
    """The value of a `runtime` variable where that place is this machine. Raises ConfigError when it is not set."""
    value = host_value(source, os.environ)
    if value is None:
        raise ConfigError(f"{where}: the variable that env_vars.{name} names is not set where its job runs")
    return value
