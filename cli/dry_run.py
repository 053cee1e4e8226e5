"""`proctor run --dry-run`: the resolved config, what was derived from it, and what the backend would be sent."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime

import yaml

from proctor.blocks.render import render
from proctor.cli.variables import unset
from proctor.configs.compose import merged
from proctor.configs.load import Loaded
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.plan import Plan, plan

SAMPLE_ID = "00000000"
"""Stands for the id that an evaluation gets when it is started."""


def dry_run(loaded: Loaded) -> str:
    """Everything that `proctor run` would do, as one text. Raises ConfigError."""
    config = loaded.config
    planned = plan(config, SAMPLE_ID, datetime.now(UTC))
    parts = ["# The config, with defaults", resolved_yaml(config)]
    parts += [f"# note: {note}" for note in notes(loaded, planned)]
    parts += [render(job, config.execution) for job in planned.jobs]
    return "\n".join(parts)


def resolved_yaml(config: EvaluationConfig) -> str:
    """What a config says, in our spelling, as YAML that can be run again."""
    set_here = config.model_dump(mode="json", exclude_defaults=True, exclude={"base_dir"})
    content = merged(config.model_dump(mode="json", exclude_none=True, exclude={"base_dir"}), set_here)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def notes(loaded: Loaded, planned: Plan) -> Iterator[str]:
    """What a user might not expect, among it the variables that a real run would miss."""
    yield from loaded.notes
    yield from planned.notes
    for name in unset(planned.jobs, os.environ):
        yield f"the environment variable {name} is not set here; a real run needs it"
