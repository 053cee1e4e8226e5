"""What the process backend would start, as text; pure."""

import shlex
from collections.abc import Sequence

from proctor.blocks.job import Container, JobSpec
from proctor.blocks.job_files import order_file, server_script, step_files, step_script
from proctor.configs.execution_schema import ProcessExecution


def render(job: JobSpec, execution: ProcessExecution) -> str:
    """Every script of the job with the environment it runs in; variables by name only."""
    parts = [f"# job {job.name}: {len(job.steps)} steps, {job.max_parallel} at a time"]
    parts.append(f"# {order_file(job)}: {' '.join(step.name for step in job.steps)}")
    if job.server:
        parts += [f"## server {job.server.kind}", surroundings(job.server.container), server_script(job)]
    for step in job.steps:
        parts += [f"## {step.name}", surroundings(step.container), f"# {step_files(job, step.name).run_config}"]
        parts += [step.run_config, step_script(job, step, execution.endpoint_readiness_timeout)]
    return "\n".join(parts)


def install_arguments(packages: Sequence[str]) -> list[str]:
    """The packages as uv wants them.

    A name that ends in .txt is a lock file: its versions and hashes hold, and it is complete, so nothing else is installed.
    """
    locks = [each for each in packages if each.endswith(".txt")]
    named = [each for each in packages if each not in locks]
    return [*(["--no-deps"] if locks else []), *(argument for each in locks for argument in ("-r", each)), *named]


def surroundings(container: Container) -> str:
    """The virtual environment and the variables of a step or server."""
    names = " ".join(f"{variable.name}={variable.source}:..." for variable in container.env)
    return f"# uv pip install {shlex.join(install_arguments(container.packages))}\n# env: {names or '(none)'}"
