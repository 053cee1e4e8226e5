"""A deployment for one backend and a config that names another one, or none."""

from typing import Any

import pytest

from proctor.configs.errors import ConfigError
from proctor.configs.schema import EvaluationConfig
from proctor.flows.deployments import deployments
from proctor.tasks.deployed import placed


def config(**sections: Any) -> EvaluationConfig:
    return EvaluationConfig.model_validate({"evaluation": {"tasks": [{"name": "mmath_en"}]}, **sections})


def tags(deployment: str) -> list[str]:
    (found,) = [each for each in deployments() if each["name"] == deployment]
    return list(found["tags"])


@pytest.mark.parametrize("kind", ["local", "process", "simulated"])
def test_a_config_without_a_backend_runs_where_its_deployment_says(kind: str) -> None:
    assert placed(config(), tags(kind)).execution.type == kind
    section = {"output_dir": "/srv/results", "max_parallel": 3}
    execution = placed(config(execution=section), tags(kind)).execution
    assert (execution.type, execution.output_dir, execution.max_parallel) == (kind, "/srv/results", 3)


def test_a_config_of_another_backend_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"deployment for slurm, and the config says local; run evaluate/local"):
        placed(config(execution={"type": "local"}), tags("slurm"))


def test_what_the_config_misses_for_that_backend_is_named() -> None:
    with pytest.raises(ConfigError, match=r"execution\.docker_host"):
        placed(config(execution={"docker_host": "tcp://far:2375"}), tags("process"))


@pytest.mark.parametrize("deployment", ["nightly", "custom"])
def test_a_deployment_for_any_backend_changes_nothing(deployment: str) -> None:
    given = config(execution={"type": "simulated"})
    assert placed(given, tags(deployment)) is given
