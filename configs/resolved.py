"""A config as YAML again: resolved, in our spelling, with the defaults that count."""

import yaml

from proctor.configs.compose import merged
from proctor.configs.schema import EvaluationConfig


def resolved_yaml(config: EvaluationConfig) -> str:
    """What a config says, in our spelling, as YAML that can be run again."""
    set_here = config.model_dump(mode="json", exclude_defaults=True, exclude={"base_dir"})
    content = merged(config.model_dump(mode="json", exclude_none=True, exclude={"base_dir"}), set_here)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
