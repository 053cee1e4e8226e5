"""What is known about a job that somebody else runs."""

from dataclasses import replace

import pytest

from proctor.blocks.job import JobHandle, JobState, JobStatus, StepStatus
from proctor.configs.execution_schema import LeptonExecution, SlurmExecution
from proctor.tasks.sight import Sight, first_sight, interval, look, out_of_sight, pace, stalled

HANDLE = JobHandle("simulated", "proctor-0-0-0-1", "0", "/r", ("a", "b"))
LOST = StepStatus(JobState.FAILED, None, "lost: nobody knows why")
DONE = StepStatus(JobState.COMPLETED, 0)
GOING = StepStatus(JobState.RUNNING)
WAITING = StepStatus(JobState.PENDING)
UNSEEN = StepStatus(JobState.UNKNOWN)


def seen(now: float, **steps: StepStatus) -> Sight:
    return look(first_sight(HANDLE, 0.0), JobStatus(JobState.RUNNING, steps), now)


def test_no_evidence_changes_nothing_and_ages() -> None:
    sight = look(seen(10, a=GOING, b=WAITING), JobStatus(JobState.UNKNOWN), 100)
    assert (sight.step("a"), sight.step("b"), sight.status.state) == (GOING, WAITING, JobState.RUNNING)
    assert out_of_sight(sight, 100, patience=95) == []
    assert out_of_sight(sight, 106, patience=95) == ["a", "b"]


def test_one_step_may_be_out_of_sight_alone() -> None:
    sight = look(seen(10, a=GOING, b=GOING), JobStatus(JobState.RUNNING, {"a": UNSEEN, "b": GOING}), 50)
    assert out_of_sight(sight, 60, patience=20) == ["a"]


def test_where_nobody_could_be_asked_only_news_is_evidence() -> None:
    before = seen(10, a=GOING, b=WAITING)
    going = replace(GOING, requests=3)
    first = look(before, JobStatus(JobState.RUNNING, {"a": GOING, "b": WAITING}, confirmed=False), 100)
    assert out_of_sight(first, 100, patience=80) == ["a", "b"]
    second = look(first, JobStatus(JobState.RUNNING, {"a": going, "b": GOING}, confirmed=False), 120)
    assert second.step("b") == GOING
    assert out_of_sight(second, 130, patience=20) == []


def test_an_end_is_for_good() -> None:
    sight = look(seen(10, a=DONE), JobStatus(JobState.RUNNING, {"a": GOING}), 20)
    assert sight.step("a") == DONE
    assert out_of_sight(sight, 1e9, patience=1) == ["b"]


@pytest.mark.parametrize(
    ("a", "b", "quiet", "expected"),
    [
        (LOST, DONE, 0, (("a",), ())),
        (LOST, LOST, 0, (("a", "b"), ())),
        (LOST, GOING, 99, ((), ())),
        (LOST, WAITING, 9, ((), ())),
        (LOST, WAITING, 11, (("a",), ("b",))),
        (DONE, WAITING, 99, ((), ())),
        (StepStatus(JobState.FAILED, 1, "lost: by its own word"), DONE, 9, ((), ())),
    ],
)
def test_lost_steps_start_again_when_nothing_of_the_job_runs(
    a: StepStatus, b: StepStatus, quiet: float, expected: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    assert stalled(seen(1, a=a, b=b), ["a", "b"], quiet) == expected


def test_a_cloud_is_asked_at_most_every_ten_seconds() -> None:
    assert [interval("lepton", quiet) for quiet in (0, 50, 300, 9000)] == [10, 10, 30, 60]


def test_short_jobs_are_seen_at_once_and_long_ones_cheap() -> None:
    assert (interval("local", 0), interval("local", 10), interval("local", 3600)) == (0.2, 1.0, 2.0)
    assert (interval("slurm", 0), interval("slurm", 3600)) == (5.0, 30.0)


@pytest.mark.parametrize(
    ("url", "wanted", "expected"),
    [
        (None, 1, 10),
        ("https://gateway.dgxc-lepton.nvidia.com/api/v2/workspaces/w", 1, 10),
        ("https://gateway.dgxc-lepton.nvidia.com/api/v2/workspaces/w", 45, 45),
        (None, None, 10),
        ("http://127.0.0.1:1/api/v2/workspaces/w", 0.5, 0.5),
    ],
)
def test_the_cloud_is_not_asked_more_often_than_it_bears(
    url: str | None, wanted: float | None, expected: float
) -> None:
    assert pace(LeptonExecution(workspace_url=url, poll_interval=wanted), quiet=0) == expected
    assert pace(SlurmExecution(poll_interval=wanted), quiet=0) == (wanted or 5)
