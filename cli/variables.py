"""Which variables of the caller's shell an evaluation needs."""

from collections.abc import Iterable, Mapping

from proctor.blocks.job import JobSpec
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import LeptonExecution
from proctor.configs.export_schema import ENVIRONMENT, Export
from proctor.configs.host_env import host_value
from proctor.configs.lepton_login import login_variables
from proctor.configs.schema import EvaluationConfig


def host_variables(jobs: Iterable[JobSpec]) -> set[str]:
    """The variables of this machine that these jobs read."""
    every = list(jobs)
    containers = [step.container for job in every for step in job.steps]
    containers += [job.server.container for job in every if job.server]
    return {variable.value for container in containers for variable in container.env if variable.source == "host"}


def unset(jobs: Iterable[JobSpec], environment: Mapping[str, str]) -> list[str]:
    """Those of them that are not set."""
    return sorted(name for name in host_variables(jobs) if host_value(name, environment) is None)


def values(jobs: Iterable[JobSpec], environment: Mapping[str, str]) -> dict[str, str]:
    """Names and values of all of them. Raises ConfigError for one that is not set."""
    wanted = list(jobs)
    for name in unset(wanted, environment):
        raise ConfigError(f"the environment variable {name} is not set, and this config needs it (host:{name})")
    return {name: environment[name] for name in sorted(host_variables(wanted))}


def export_values(export: Export, environment: Mapping[str, str]) -> dict[str, str]:
    """Those of the variables that the libraries of its destinations read which are set."""
    names = (name for destination in export.destinations for name in ENVIRONMENT.get(destination, ()))
    return {name: environment[name] for name in names if name in environment}


def handed_over(config: EvaluationConfig, jobs: Iterable[JobSpec], environment: Mapping[str, str]) -> dict[str, str]:
    """What the worker of this machine, which was started earlier, is told. Raises ConfigError for what is not set."""
    execution = config.execution
    login = login_variables(execution) if isinstance(execution, LeptonExecution) else ()
    known = {name: environment[name] for name in login if name in environment}
    return values(jobs, environment) | export_values(config.export, environment) | known
