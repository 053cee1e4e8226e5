"""Which benchmarks of a job run in which job of Lepton's: each in one of its own, or several one after the other; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from proctor.blocks.job import JobHandle, JobSpec, Step
from proctor.blocks.job_files import CONTAINER_RESULTS
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import LeptonExecution


@dataclass(frozen=True, slots=True)
class Share:
    """What one job of Lepton's runs."""

    name: str
    """The job's name, by which it is found again; Lepton adds four characters for its id."""
    steps: tuple[str, ...]
    """In the order in which they run."""
    together: bool = False
    """Whether the section spreads the benchmarks over so many jobs (`execution.split`)."""

    @property
    def entry(self) -> str:
        """Its key in the ledger."""
        return self.name if self.together else self.steps[0]

    def mark(self, step: str) -> str:
        """What the lines of a step are known by in the job's log."""
        return f"{self.name}/{step}" if self.together else self.name

    def folder(self, step: str) -> str:
        """A step's output folder, as the job sees it."""
        return f"{CONTAINER_RESULTS}/{step}" if self.together else CONTAINER_RESULTS


def job_name(job: JobSpec | JobHandle, index: int) -> str:
    """The name of one of a job's jobs on Lepton."""
    return f"{job.name}-{index}"


def shares(job: JobSpec | JobHandle, execution: LeptonExecution) -> tuple[Share, ...]:
    """The jobs on Lepton of a job, none of them without a step."""
    names = tuple(each.name if isinstance(each, Step) else each for each in job.steps)
    parts = min(execution.split or len(names), len(names))
    together = execution.split is not None
    return tuple(Share(job_name(job, part), names[part::parts], together) for part in range(parts))


def share_of(job: JobSpec | JobHandle, step: str, execution: LeptonExecution) -> Share:
    """The one that a step belongs to."""
    return next(each for each in shares(job, execution) if step in each.steps)


def steps_of(job: JobSpec, share: Share) -> list[Step]:
    """The steps themselves."""
    return [each for each in job.steps if each.name in share.steps]


def check_images(job: JobSpec, execution: LeptonExecution) -> None:
    """Raise ConfigError for benchmarks that are to share a job and do not run the same image."""
    for share in shares(job, execution):
        check_image(steps_of(job, share))


def check_image(steps: Sequence[Step]) -> None:
    """The same for the benchmarks of one job on Lepton."""
    first, *others = steps
    for other in others:
        if other.container.image != first.container.image:
            raise ConfigError(
                f"execution.split: {first.benchmark} runs {first.container.image} and {other.benchmark} runs "
                f"{other.container.image}, but benchmarks that share a job share its image; leave split out or raise it"
            )
