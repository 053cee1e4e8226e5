"""What the task runs of an evaluation are called in the UI, where a template cannot say it. Pure."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from prefect.tasks import TaskRunNameCallbackWithParameters as Namer


def namer(name: Callable[[dict[str, Any]], str]) -> "Namer":
    """The same function by the type that Prefect gives it, a protocol with a class method that no function has."""
    return cast("Namer", name)


def counted(number: int, thing: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


@namer
def planning(parameters: dict[str, Any]) -> str:
    """`plan 3 benchmarks on slurm`."""
    config = parameters["config"]
    return f"plan {counted(len(config.evaluation.tasks), 'benchmark')} on {config.execution.type}"


@namer
def submission(parameters: dict[str, Any]) -> str:
    """`submit 3 benchmarks to slurm`; from the second attempt on it says which."""
    jobs = parameters["jobs"]
    attempt = max((job.attempt for job in jobs), default=1)
    again = f", attempt {attempt}" if attempt > 1 else ""
    return f"submit {counted(sum(len(job.steps) for job in jobs), 'benchmark')} to {parameters['backend']}{again}"


@namer
def collection(parameters: dict[str, Any]) -> str:
    """`collect scores of 2 benchmarks`; those without a score are not counted."""
    scored = [outcome for outcome in parameters["outcomes"] if outcome.ending == "scored"]
    return f"collect scores of {counted(len(scored), 'benchmark')}"


@namer
def releasing(parameters: dict[str, Any]) -> str:
    """`release 1 job on slurm`."""
    handles = parameters["handles"]
    return f"release {counted(len(handles), 'job')} on {' and '.join(sorted({each.backend for each in handles}))}"
