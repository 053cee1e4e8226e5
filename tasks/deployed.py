"""What the deployment of a run says about where its jobs run. Pure."""

from collections.abc import Iterable

from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import BUILTIN_EXECUTIONS
from proctor.configs.mistakes import validated
from proctor.configs.records import backend_tag
from proctor.configs.schema import EvaluationConfig


def placed(config: EvaluationConfig, tags: Iterable[str]) -> EvaluationConfig:
    """The config, with the backend that its deployment is for where it names none itself.

    A deployment for one backend carries the backend's tag, and its runs inherit it. Raises ConfigError where the two disagree.
    """
    meant = [kind for kind in BUILTIN_EXECUTIONS if backend_tag(kind) in set(tags)]
    if not meant or config.execution.type in meant:
        return config
    named = "execution" in config.model_fields_set and "type" in config.execution.model_fields_set
    if named:
        raise ConfigError(
            f"execution.type: this is the deployment for {meant[0]}, and the config says {config.execution.type}; "
            f"run evaluate/{config.execution.type}, or change the config"
        )
    document = config.model_dump(mode="json", exclude_unset=True)
    return validated({**document, "execution": {**document.get("execution", {}), "type": meant[0]}})
