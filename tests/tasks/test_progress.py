"""The progress table: servers and benchmarks as they were last seen."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from proctor.blocks.job import (
    Container,
    JobHandle,
    JobSpec,
    JobState,
    JobStatus,
    Server,
    ServerStatus,
    Step,
    StepStatus,
)
from proctor.tasks.progress import Row, progress_rows
from proctor.tasks.sight import Sight, first_sight, look

SERVER = Server("vllm", Container(), "vllm serve m", 8000, "m")
STEPS = tuple(Step(name, f"fake.{name}", Container(), "", "") for name in ("a.0", "b.1"))
JOB = JobSpec("proctor-0-0-0-1", "0", "/r", STEPS, SERVER)
HANDLE = JobHandle("local", JOB.name, "0", "/r", ("a.0", "b.1"))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def rows(*sights: Sight, job: JobSpec = JOB) -> list[Row]:
    return progress_rows([job], {step: sight for sight in sights for step in sight.handle.steps})


def seen(state: JobState, server: ServerStatus, requests: int | None = None) -> Sight:
    step = StepStatus(state, 0 if state.final else None, started=NOW, requests=requests)
    return look(first_sight(HANDLE, 0), JobStatus(state, dict.fromkeys(HANDLE.steps, step), server, observed=NOW), 1)


def first(*sights: Sight) -> tuple[object, object, object]:
    row = rows(*sights)[0]
    return row["benchmark"], row["state"], row["message"]


def test_a_server_is_told_from_its_submission_to_its_release() -> None:
    assert first() == ("server vllm", "PENDING", "not submitted")
    loading = ServerStatus(JobState.PENDING, "loading 2 min")
    assert first(seen(JobState.PENDING, loading)) == ("server vllm", "PENDING", "loading 2 min")
    answers = ServerStatus(JobState.RUNNING, "answers")
    assert first(seen(JobState.RUNNING, answers)) == ("server vllm", "RUNNING", "answers")
    assert first(seen(JobState.COMPLETED, answers)) == ("server vllm", "COMPLETED", "released")
    died = ServerStatus(JobState.FAILED, "out of memory")
    assert first(seen(JobState.FAILED, died)) == ("server vllm", "FAILED", "out of memory")


def test_a_server_that_loads_is_told_with_its_node() -> None:
    loading = ServerStatus(JobState.PENDING, "loading 3 min")
    sight = seen(JobState.PENDING, loading)
    told = "running on n2, server loading 3 min, 3:20 of 10:00"
    assert first(replace(sight, status=replace(sight.status, message=told)))[2] == told
    waits = replace(sight, status=replace(sight.status, message="pending: Priority"))
    assert first(waits)[2] == "loading 3 min"


def test_a_job_without_a_server_has_no_row_for_it() -> None:
    assert [row["step"] for row in rows(job=replace(JOB, server=None))] == ["a.0", "b.1"]


def test_a_look_that_could_not_count_keeps_the_number_before() -> None:
    answers = ServerStatus(JobState.RUNNING, "answers")
    counted = seen(JobState.RUNNING, answers, requests=7)
    locked = look(counted, JobStatus(JobState.RUNNING, {"a.0": StepStatus(JobState.RUNNING, started=NOW)}), 2)
    assert [row["requests"] for row in rows(locked)] == [None, 7, 7]


def test_an_ended_benchmark_says_how_long_it_took() -> None:
    running, ended = StepStatus(JobState.RUNNING, started=NOW), NOW + timedelta(seconds=80)
    steps = {"a.0": StepStatus(JobState.COMPLETED, 0, started=NOW, ended=ended), "b.1": running}
    sight = look(first_sight(HANDLE, 0), JobStatus(JobState.RUNNING, steps, observed=ended), 1)
    assert [(row["since"], row["seconds"]) for row in rows(sight)] == [
        (None, None),
        (ended.isoformat(), 80),
        (NOW.isoformat(), None),
    ]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody without a name")
def test_somebody_without_a_name_is_known_by_number() -> None:
    code = "import os, pwd; from proctor.configs.host_env import user; os.setuid(54321); print(user())"
    env = {name: value for name, value in os.environ.items() if name not in {"LOGNAME", "USER", "LNAME", "USERNAME"}}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "uid 54321"
