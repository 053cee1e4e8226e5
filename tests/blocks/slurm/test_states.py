"""The table of Slurm's states, one row a test, and the rules that join them with what the steps wrote."""

from datetime import UTC, datetime

import pytest

from proctor.blocks.job import JobHandle, JobState, StepStatus
from proctor.blocks.slurm.parse import Evidence, Facts
from proctor.blocks.slurm.states import STATES, Phase, meaning, outlook
from proctor.blocks.slurm.verdict import ordinal, stuck, verdict
from proctor.blocks.stage_files import Stage, lost

HANDLE = JobHandle("slurm", "j-1", "e", "/out", ("a.0", "b.1"), "7")
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BEGUN = {"pre-start": Stage(NOW), "running": Stage(NOW)}
DONE = {**BEGUN, "exit": Stage(NOW, "", 0)}
STOPPED = {**BEGUN, "exit": Stage(NOW, "interrupted by TERM", 143)}

PHASES = {
    "PENDING": Phase.WAITING,
    "CONFIGURING": Phase.WAITING,
    "REQUEUED": Phase.WAITING,
    "REQUEUE_FED": Phase.WAITING,
    "REQUEUE_HOLD": Phase.WAITING,
    "RESV_DEL_HOLD": Phase.WAITING,
    "SPECIAL_EXIT": Phase.WAITING,
    "EXPEDITING": Phase.WAITING,
    "RUNNING": Phase.RUNNING,
    "COMPLETING": Phase.RUNNING,
    "SUSPENDED": Phase.RUNNING,
    "STOPPED": Phase.RUNNING,
    "RESIZING": Phase.RUNNING,
    "SIGNALING": Phase.RUNNING,
    "STAGE_OUT": Phase.RUNNING,
    "COMPLETED": Phase.ENDED,
    "FAILED": Phase.ENDED,
    "CANCELLED": Phase.CANCELLED,
    "CANCELLED by 1001": Phase.CANCELLED,
    "CANCELLED+": Phase.CANCELLED,
    "TIMEOUT": Phase.LOST,
    "PREEMPTED": Phase.LOST,
    "NODE_FAIL": Phase.LOST,
    "BOOT_FAIL": Phase.LOST,
    "LAUNCH_FAILED": Phase.LOST,
    "OUT_OF_MEMORY": Phase.FAILED,
    "DEADLINE": Phase.FAILED,
    "REVOKED": Phase.UNKNOWN,
    "INVENTED_NEXT_YEAR": Phase.UNKNOWN,
    "": Phase.UNKNOWN,
}


@pytest.mark.parametrize(("state", "phase"), PHASES.items())
def test_every_state_has_a_meaning(state: str, phase: Phase) -> None:
    assert meaning(state).phase is phase
    assert meaning(state).words


def test_no_state_of_the_table_is_untested() -> None:
    assert set(STATES) <= set(PHASES)


STEPS = {
    # Slurm's state: what a step is that wrote nothing, that had begun, that said 143
    "PENDING": (JobState.PENDING, JobState.PENDING, JobState.PENDING),
    "REQUEUED": (JobState.PENDING, JobState.PENDING, JobState.PENDING),
    "RUNNING": (JobState.PENDING, JobState.RUNNING, JobState.RUNNING),
    "SUSPENDED": (JobState.PENDING, JobState.RUNNING, JobState.RUNNING),
    "COMPLETED": (JobState.FAILED, JobState.FAILED, JobState.FAILED),
    "FAILED": (JobState.FAILED, JobState.FAILED, JobState.FAILED),
    "CANCELLED": (JobState.CANCELLED, JobState.CANCELLED, JobState.CANCELLED),
    "TIMEOUT": (JobState.FAILED, JobState.FAILED, JobState.FAILED),
    "PREEMPTED": (JobState.FAILED, JobState.FAILED, JobState.FAILED),
    "OUT_OF_MEMORY": (JobState.FAILED, JobState.FAILED, JobState.FAILED),
    "INVENTED_NEXT_YEAR": (JobState.UNKNOWN, JobState.RUNNING, JobState.FAILED),
}


@pytest.mark.parametrize(("state", "expected"), STEPS.items())
def test_both_witnesses_are_joined(state: str, expected: tuple[JobState, ...]) -> None:
    for stages, wanted in zip(({}, BEGUN, STOPPED), expected, strict=True):
        assert step(Evidence(Facts(state, "squeue"), stages={0: stages})).state is wanted
        assert step(Evidence(Facts(state, "squeue"), stages={0: DONE})).state is JobState.COMPLETED


def step(seen: Evidence) -> StepStatus:
    return verdict(HANDLE, seen, NOW).steps["a.0"]


@pytest.mark.parametrize("state", ["TIMEOUT", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL"])
@pytest.mark.parametrize("stages", [{}, BEGUN, STOPPED])
def test_what_slurm_took_away_is_lost_and_runs_again(state: str, stages: dict[str, Stage]) -> None:
    assert lost(step(Evidence(Facts(state, "sacct"), stages={0: stages})))


@pytest.mark.parametrize("state", ["OUT_OF_MEMORY", "DEADLINE", "FAILED", "CANCELLED"])
def test_what_would_happen_again_is_not_tried_again(state: str) -> None:
    assert not lost(step(Evidence(Facts(state, "sacct"), stages={0: {}})))


@pytest.mark.parametrize("stages", [{}, BEGUN])
def test_what_a_killed_controller_has_forgotten_is_lost_and_runs_again(stages: dict[str, Stage]) -> None:
    assert lost(step(Evidence(None, job_id="7", forgotten=True, stages={0: stages})))
    at_once = Facts("CANCELLED", "squeue", start="2026-01-01T11:00:00", end="2026-01-01T11:00:00")
    assert lost(step(Evidence(at_once, begun=True, stages={0: stages})))
    assert lost(step(Evidence(Facts("FAILED", "squeue"), begun=True, why="FORGOTTEN", stages={0: stages})))


@pytest.mark.parametrize(
    "seen",
    [
        Evidence(Facts("CANCELLED", "squeue", start="2026-01-01T11:00:00", end="2026-01-01T11:00:09"), begun=True),
        Evidence(Facts("CANCELLED", "squeue", start="2026-01-01T11:00:00", end="2026-01-01T11:00:00")),
        Evidence(Facts("CANCELLED", "squeue"), begun=True),
        Evidence(
            Facts("CANCELLED", "squeue", start="2026-01-01T11:00:00", end="2026-01-01T11:00:00"),
            begun=True,
            why="CANCELLED",
        ),
        Evidence(None, job_id="7", forgotten=True, why="CANCELLED"),
    ],
)
def test_what_a_user_cancelled_is_not_taken_for_forgotten(seen: Evidence) -> None:
    assert step(seen).state is JobState.CANCELLED


def test_a_warned_job_is_lost_even_when_it_ends_in_time() -> None:
    assert lost(step(Evidence(Facts("COMPLETED", "sacct"), why="TIMEOUT", stages={0: STOPPED})))


def test_a_cancelled_job_is_cancelled_even_when_it_was_warned() -> None:
    seen = Evidence(Facts("CANCELLED by 1001", "sacct"), why="TIMEOUT", stages={0: STOPPED})
    assert step(seen).state is JobState.CANCELLED


def test_a_step_that_was_ended_on_purpose_says_so_itself() -> None:
    stages = {**BEGUN, "exit": Stage(NOW, "cancelled", 143)}
    for state in ("RUNNING", "COMPLETED", "TIMEOUT"):
        assert step(Evidence(Facts(state, "squeue"), stages={0: stages})).state is JobState.CANCELLED


@pytest.mark.parametrize(("why", "state"), [("CANCELLED", JobState.CANCELLED), ("PREEMPTED", JobState.FAILED)])
def test_a_job_that_slurm_has_forgotten_keeps_its_own_words(why: str, state: JobState) -> None:
    assert step(Evidence(None, job_id="7", why=why, stages={0: STOPPED})).state is state


def test_the_last_word_may_take_a_moment_to_arrive() -> None:
    seen = Evidence(Facts("COMPLETED", "sacct"), stages={0: BEGUN}, ended_for=3)
    assert step(seen).state is JobState.RUNNING
    assert lost(step(Evidence(Facts("COMPLETED", "sacct"), stages={0: BEGUN}, ended_for=300)))


def test_nobody_knows_it() -> None:
    assert step(Evidence(None, asked=True, job_id="7", stages={0: {}})).state is JobState.UNKNOWN
    assert lost(step(Evidence(None, asked=True, job_id="7", stages={0: BEGUN})))


def test_no_answer_is_no_evidence() -> None:
    assert step(Evidence(None, asked=False, job_id="7", stages={0: BEGUN})).state is JobState.RUNNING
    assert step(Evidence(None, asked=False, job_id="7", stages={0: DONE})).state is JobState.COMPLETED
    assert step(Evidence(None, asked=False, job_id="7", stages={0: STOPPED})).state is JobState.RUNNING
    assert verdict(HANDLE, Evidence(None, asked=False, job_id="7"), NOW).observed is None
    seen = verdict(HANDLE, Evidence(None, asked=False, trouble="no controller", stages={0: BEGUN}), NOW)
    assert (seen.confirmed, seen.observed, seen.message) == (False, None, "Slurm cannot be asked: no controller")


@pytest.mark.parametrize(
    "reason",
    [
        "DependencyNeverSatisfied",
        "PartitionTimeLimit",
        "QOSMaxWallDurationPerJobLimit",
        "JobHeldUser",
        "BadConstraints",
        "launch failed requeued held",
        "job requeued in held state",
    ],
)
def test_what_will_never_resolve_is_told(reason: str) -> None:
    seen = Evidence(Facts("PENDING", "squeue", reason))
    assert "will never start by itself" in verdict(HANDLE, seen, NOW).message
    assert stuck(seen) == reason


@pytest.mark.parametrize("reason", ["AssocGrpGRES", "QOSMaxJobsPerUserLimit", "QOSGrpCpuLimit", "AssocMaxJobsLimit"])
def test_a_limit_is_told_as_one_that_may_leave_room(reason: str) -> None:
    seen = Evidence(Facts("PENDING", "squeue", reason))
    words = verdict(HANDLE, seen, NOW).message
    assert f"{reason} (a limit: it starts when other jobs leave room for it, or never)" in words
    assert stuck(seen) == reason


@pytest.mark.parametrize(
    "reason", ["Priority", "Resources", "Dependency", "BeginTime", "ReqNodeNotAvail, UnavailableNodes:n1"]
)
def test_what_only_takes_time_is_left_alone(reason: str) -> None:
    assert not outlook(reason)


def test_the_queue_in_words() -> None:
    facts = Facts("PENDING", "squeue", "Priority", "2026-01-01T14:05:00", place=(3, 40))
    assert verdict(HANDLE, Evidence(facts), NOW).message == "pending: Priority, 3rd of 40, estimated start 14:05"
    assert [ordinal(number) for number in (1, 2, 3, 4, 11, 12, 13, 21, 112)] == [
        *("1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th")
    ]


def test_a_running_job_in_words() -> None:
    facts = Facts("RUNNING", "squeue", "None", elapsed="12:00", limit="4:00:00", nodes="n2")
    loading = Evidence(facts, server={"here": "", "pre-start": "2026-01-01T11:57:00Z j-1"})
    assert verdict(HANDLE, loading, NOW).message == "running on n2, server loading 3 min, 12:00 of 4:00:00"
    answering = Evidence(facts, server={"here": ""}, answering=frozenset({0}), stages={0: DONE, 1: BEGUN})
    assert verdict(HANDLE, answering, NOW).message == "running on n2, benchmark 2 of 2, 12:00 of 4:00:00"


def test_a_dead_server_is_the_reason_and_not_tried_again() -> None:
    server = {"here": "", "exit": "2026-01-01T11:57:00Z 1 j-1 the server ended with exit code 1"}
    seen = Evidence(
        Facts("FAILED", "sacct"), server=server, server_log=("CUDA out of memory",), stages={0: STOPPED, 1: STOPPED}
    )
    status = verdict(HANDLE, seen, NOW)
    assert status.state is JobState.FAILED
    assert not any(lost(each) for each in status.steps.values())
    assert "server died" in status.steps["a.0"].message
    assert status.server
    assert status.server.log_tail == "CUDA out of memory"


DIED = {"here": "", "exit": "2026-01-01T11:57:00Z 1 j-1 the server ended with exit code 1"}
TOLD = {"here": "", "exit": "2026-01-01T11:57:00Z lost j-1 the server was told to end"}
AFTER = datetime(2026, 1, 1, 11, 57, 1, tzinfo=UTC)
WITHOUT = {**BEGUN, "exit": Stage(AFTER, "", 1)}
BEFORE = {**BEGUN, "exit": Stage(datetime(2026, 1, 1, 11, 50, tzinfo=UTC), "", 1)}


@pytest.mark.parametrize("state", ["PREEMPTED", "TIMEOUT", "NODE_FAIL"])
@pytest.mark.parametrize("server", [DIED, TOLD])
@pytest.mark.parametrize("stages", [STOPPED, WITHOUT])
def test_a_server_that_falls_with_its_job_lets_the_rest_run_again(
    state: str, server: dict[str, str], stages: dict[str, Stage]
) -> None:
    status = verdict(HANDLE, Evidence(Facts(state, "sacct"), server=server, stages={0: stages, 1: DONE}), NOW)
    assert lost(status.steps["a.0"]), status
    assert status.steps["b.1"].state is JobState.COMPLETED


def test_a_server_that_slurm_told_to_end_lets_the_rest_run_again_before_slurm_says_why() -> None:
    seen = Evidence(Facts("RUNNING", "squeue"), server=TOLD, stages={0: WITHOUT, 1: STOPPED})
    assert lost(step(seen))
    assert (
        step(Evidence(Facts("CANCELLED by 0", "sacct"), server=TOLD, stages={0: WITHOUT})).state is JobState.CANCELLED
    )


@pytest.mark.parametrize("state", ["PREEMPTED", "RUNNING", "CANCELLED"])
def test_a_step_that_failed_before_its_server_fell_has_failed(state: str) -> None:
    status = step(Evidence(Facts(state, "squeue"), server=TOLD, stages={0: BEFORE}))
    assert (status.state, status.exit_code) == (JobState.FAILED, 1)


def test_a_server_of_an_earlier_attempt_is_not_this_ones() -> None:
    server = {"here": "", "exit": "2026-01-01T11:57:00Z 1 j-0 the server ended with exit code 1"}
    status = verdict(HANDLE, Evidence(Facts("RUNNING", "squeue"), server=server, stages={0: BEGUN}), NOW)
    assert status.steps["a.0"].state is JobState.RUNNING
    assert status.server
    assert status.server.state is JobState.PENDING


def test_importing_is_not_loading() -> None:
    server = {
        "here": "",
        "pre-start": "2026-01-01T11:50:00Z j-1",
        "preparing": "2026-01-01T11:50:00Z j-1 its image comes",
    }
    seen = Evidence(Facts("RUNNING", "squeue", nodes="n1"), server=server)
    assert "server its image comes, 10 min" in verdict(HANDLE, seen, NOW).message
    server = {"here": "", "pre-start": "2026-01-01T11:50:00Z j-1", "running": "2026-01-01T11:57:00Z j-1"}
    seen = Evidence(Facts("RUNNING", "squeue", nodes="n1"), server=server)
    assert "server loading 3 min" in verdict(HANDLE, seen, NOW).message


@pytest.mark.parametrize("why", ["COMPLETING", "RUNNING"])
def test_a_word_from_the_middle_of_an_end_is_no_evidence(why: str) -> None:
    assert lost(step(Evidence(None, job_id="7", why=why, stages={0: STOPPED})))
    assert verdict(HANDLE, Evidence(None, job_id="7", why=why), NOW).observed is None


def test_a_folder_that_the_node_cannot_write_is_told() -> None:
    said = step(Evidence(Facts("FAILED", "sacct", exit_code=73)))
    assert (said.state, "output_dir" in said.message) == (JobState.FAILED, True)
