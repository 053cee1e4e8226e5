"""Can this machine run these jobs as processes? Looks only; installs nothing."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from proctor.blocks.errors import RejectedError
from proctor.blocks.finding import Finding, ok, problem
from proctor.blocks.folders_check import check_folders, nearest
from proctor.blocks.job import JobSpec
from proctor.blocks.process.environments import default_cache, run_uv
from proctor.blocks.process.ports import require_free_port
from proctor.configs.execution_schema import ProcessExecution


def examine(execution: ProcessExecution, jobs: Sequence[JobSpec]) -> Iterator[Finding]:
    """Folders, Python, packages, ports."""
    cache = Path(execution.cache_dir).expanduser() if execution.cache_dir else default_cache()
    yield from check_folders(execution.output_dir, [])
    yield from check_folders(str(nearest(cache)), [])
    yield check_python(execution.python)
    for job in jobs:
        for step in job.steps:
            yield from check_packages(step.benchmark, step.container.packages)
        if job.server:
            yield check_port(job.server.port)


def check_python(python: str | None) -> Finding:
    """Whether the Python of the environments is at hand."""
    if python is None:
        return ok("environments use the Python that Proctor runs on")
    try:
        return ok(f"Python {python} is {run_uv(['python', 'find', python]).strip()}")
    except RejectedError:
        return problem(
            f"execution.python: there is no Python {python} here", "install it, or leave execution.python out"
        )


def check_packages(benchmark: str, packages: Sequence[str]) -> Iterator[Finding]:
    """Whether local packages and lock files of a benchmark are there, and anything at all is named."""
    if not packages:
        yield problem(
            f"{benchmark} has no packages, so it runs only in its container",
            "give `packages:` for it, or use execution: local",
        )
    for package in packages:
        if "/" in package and "://" not in package and not Path(package).exists():
            yield problem(f"{benchmark}: {package} does not exist", "correct `packages:`")


def check_port(port: int) -> Finding:
    """Whether the model server may listen."""
    try:
        require_free_port(port)
    except RejectedError as error:
        return problem(str(error).partition(";")[0], "choose another deployment.port, or end what listens there")
    return ok(f"port {port} is free for the model server")
