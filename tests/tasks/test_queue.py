"""Servers that share one machine take turns."""

from proctor.blocks.job import JobSpec
from proctor.configs.execution_schema import LeptonExecution, LocalExecution, ProcessExecution, SlurmExecution
from proctor.tasks.queue import split

JOBS = [JobSpec(name, "0" * 8, "/o", ()) for name in "abcd"]


def names(jobs: list[JobSpec]) -> str:
    return "".join(job.name for job in jobs)


def test_processes_share_a_port_and_run_one_by_one() -> None:
    now, later = split(JOBS, set(), ProcessExecution(max_parallel=4))
    assert (names(now), names(later)) == ("a", "bcd")


def test_containers_run_as_many_as_the_config_says() -> None:
    now, later = split(JOBS, set(), LocalExecution(max_parallel=2))
    assert (names(now), names(later)) == ("ab", "cd")


def test_the_cloud_is_asked_for_as_many_servers_as_the_config_says_or_for_all() -> None:
    now, later = split(JOBS, set(), LeptonExecution(max_parallel=1))
    assert (names(now), names(later)) == ("a", "bcd")
    now, later = split(JOBS, set(), LeptonExecution())
    assert (names(now), names(later)) == ("abcd", "")


def test_a_cluster_queues_by_itself() -> None:
    now, later = split(JOBS, set(), SlurmExecution())
    assert (names(now), names(later)) == ("abcd", "")


def test_what_was_submitted_before_the_crash_counts() -> None:
    now, later = split(JOBS, {"b"}, LocalExecution(max_parallel=2))
    assert (names(now), names(later)) == ("ba", "cd")
