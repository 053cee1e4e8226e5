"""`proctor run --dry-run`: the resolved config, what was derived from it, and what the backend would be sent."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import yaml

from proctor.blocks.render import render
from proctor.cli.variables import unset
from proctor.configs.load import Loaded
from proctor.configs.resolved import resolved_yaml
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


def document(loaded: Loaded) -> dict[str, Any]:
    """The same for programs. Raises ConfigError."""
    config = loaded.config
    planned = plan(config, SAMPLE_ID, datetime.now(UTC))
    jobs = [{"name": job.name, "rendered": render(job, config.execution)} for job in planned.jobs]
    resolved = yaml.safe_load(resolved_yaml(config))
    return {"config": resolved, "notes": list(notes(loaded, planned)), "jobs": jobs}


def notes(loaded: Loaded, planned: Plan) -> Iterator[str]:
    """What a user might not expect, among it the variables that a real run would miss."""
    yield from loaded.notes
    yield from planned.notes
    for name in unset(planned.jobs, os.environ):
        yield f"the environment variable {name} is not set here; a real run needs it"
