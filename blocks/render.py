"""What a backend would send for a job, for `--dry-run`: ours without importing Prefect or the backend's libraries."""

from importlib import import_module
from typing import cast

from proctor.blocks.job import JobSpec
from proctor.configs.execution_schema import BUILTIN_EXECUTIONS, BaseExecution


def render(job: JobSpec, execution: BaseExecution) -> str:
    """The rendered text of this job on the backend that `execution` describes; each has a pure `render.py`."""
    kind: str = getattr(execution, "type", "")
    if kind not in BUILTIN_EXECUTIONS:
        from proctor.blocks.registry import make_backend  # noqa: PLC0415 (somebody else's backend may need Prefect)

        return make_backend(execution).render(job)
    folder = "docker" if kind == "local" else kind
    module = import_module(f"proctor.blocks.{folder}.render")
    return cast(str, module.render(job, execution))
