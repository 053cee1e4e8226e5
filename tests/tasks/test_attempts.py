"""Attempts of a job, and the end of an evaluation."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from proctor.blocks.job import Container, JobHandle, JobSpec, Step
from proctor.configs.execution_schema import ProcessExecution, SlurmExecution
from proctor.tasks.attempts import attempt_of, family, intended, latest, may_try_again
from proctor.tasks.engine_lock import engine_lock, engine_name, silenced
from proctor.tasks.verdict import Outcome, verdict

JOB = JobSpec(
    "proctor-075e7823-f19de2-0-1",
    "075e7823",
    "/results",
    tuple(Step(name, f"h.{name}", Container(), "", "") for name in ("a.0", "b.1", "c.2")),
)


def handle(attempt: int, *steps: str) -> JobHandle:
    return JobHandle("process", f"proctor-075e7823-f19de2-0-{attempt}", "075e7823", "/results", steps)


def test_the_newest_attempt_counts_with_its_own_steps() -> None:
    known = [handle(2, "b.1", "c.2"), handle(1, "a.0", "b.1", "c.2"), handle(3, "c.2")]
    newest = latest(JOB, known)
    assert newest.name == "proctor-075e7823-f19de2-0-3"
    assert [step.name for step in newest.steps] == ["c.2"]
    assert intended(newest, "process") == known[2]
    assert latest(JOB, []) == JOB
    assert latest(JOB, [JobHandle("process", "proctor-075e7823-f19de2-1-2", "075e7823", "/results", ("a.0",))]) == JOB


@pytest.mark.parametrize(
    ("attempt", "words", "again"),
    [
        (1, "lost: preempted by another job", True),
        (2, "lost: preempted by another job", True),
        (3, "lost: preempted by another job", False),
        (3, "lost: the walltime was over", True),
        (9, "lost: the walltime was over", True),
        (10, "lost: the walltime was over", False),
    ],
)
def test_the_walltime_may_be_over_as_often_as_max_walltime_allows(attempt: int, words: str, again: bool) -> None:
    execution = SlurmExecution(walltime=3600, max_walltime=36000, max_attempts=3)
    assert may_try_again(execution, attempt, words) is again
    assert may_try_again(ProcessExecution(max_attempts=3), attempt, words) is (attempt < 3)


def test_names_say_their_attempt() -> None:
    assert (attempt_of("proctor-075e7823-f19de2-0-12"), family("proctor-x-y-0-12")) == (12, "proctor-x-y-0")


def test_the_verdict_lists_what_has_no_scores() -> None:
    good = Outcome("h.a", "scored")
    assert verdict([good]).type == "COMPLETED"
    failed = verdict([good, Outcome("h.b", "failed", "exit code 3\nlast line"), Outcome("h.c", "cancelled")])
    assert (failed.type, failed.name) == ("FAILED", "Failed")
    assert failed.message == "1 of 3 benchmarks have scores. h.b failed: exit code 3; h.c was cancelled"
    assert verdict([good, Outcome("h.b", "unavailable", "gone")]).name == "Unavailable"
    assert verdict([good], cancelled=True).type == "CANCELLED"
    assert verdict([good], trouble="the disk is full").type == "FAILED"


HOLDER = """
import asyncio, pathlib, sys
from proctor.tasks.engine_lock import engine_lock
async def main():
    async with engine_lock(pathlib.Path(sys.argv[1])):
        print("held", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


def test_a_second_engine_waits_until_the_first_is_dead(tmp_path: Path) -> None:
    async def take() -> bool:
        async with engine_lock(tmp_path) as waited:
            return waited

    async def story() -> bool:
        second = asyncio.create_task(take())
        await asyncio.sleep(1)
        assert not second.done()
        holder.kill()
        return await asyncio.wait_for(second, 5)

    assert asyncio.run(take()) is False
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout and holder.stdout.readline() == b"held\n"
    assert asyncio.run(story()) is True
    holder.wait()


NAMED = """
import sys
from proctor.tasks.engine_lock import engine_name
print(engine_name(), flush=True)
sys.stdin.read()
"""


def test_an_engine_that_reports_its_end_is_waited_for() -> None:
    async def story(name: str, first: subprocess.Popen[bytes]) -> None:
        waiting = asyncio.create_task(silenced(name))
        await asyncio.sleep(1)
        assert not waiting.done()
        first.kill()
        await asyncio.wait_for(waiting, 5)

    with subprocess.Popen([sys.executable, "-c", NAMED], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout
        asyncio.run(story(first.stdout.readline().decode().strip(), first))


def test_nobody_waits_for_itself_or_for_who_cannot_be_seen() -> None:
    async def both() -> None:
        await silenced(engine_name())
        await silenced("elsewhere 1 1000 7")
        await silenced("")

    asyncio.run(asyncio.wait_for(both(), 2))
