"""Which jobs of an evaluation may run now: servers that share one machine must not all start at once; pure."""

from collections.abc import Collection, Sequence

from proctor.blocks.job import JobSpec
from proctor.configs.execution_schema import BaseExecution, LeptonExecution, LocalExecution, ProcessExecution


def width(execution: BaseExecution) -> int | None:
    """How many jobs may run at a time; None where a scheduler of its own has room or queues them.

    Only `server_per_benchmark` makes several jobs. As local processes they use one port, so they run one by one. On Lepton
    each has an endpoint, which must answer within its time: more than `max_parallel` are not asked for at once.
    """
    if isinstance(execution, ProcessExecution):
        return 1
    return execution.parallel if isinstance(execution, LocalExecution | LeptonExecution) else None


def split(
    jobs: Sequence[JobSpec], known: Collection[str], execution: BaseExecution
) -> tuple[list[JobSpec], list[JobSpec]]:
    """The jobs to submit now, those that were submitted before (`known` by name) first among them, and those to come."""
    before = [job for job in jobs if job.name in known]
    rest = [job for job in jobs if job.name not in known]
    limit = width(execution)
    free = len(rest) if limit is None else max(0, limit - len(before))
    return before + rest[:free], rest[free:]
