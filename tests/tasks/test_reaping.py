"""What `reap` may end, and what never."""

from datetime import UTC, datetime, timedelta

import pytest

from proctor.blocks.slurm.strays import parse
from proctor.blocks.stray import Stray
from proctor.tasks.reaping import Ended, place, reapable, settled

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def stray(hours: float = 5) -> Stray:
    return Stray("3f2a91bc", "container x", "id", NOW - timedelta(hours=hours))


def run(kind: str, hours: float = 2, name: str = "") -> dict[str, Ended]:
    return {"3f2a91bc": Ended(kind, name or kind.title(), NOW - timedelta(hours=hours))}


@pytest.mark.parametrize(
    ("runs", "ended"),
    [
        (run("COMPLETED"), True),
        (run("FAILED"), True),
        (run("CANCELLED"), True),
        (run("COMPLETED", hours=0.1), False),
        (run("FAILED", name="Unavailable"), False),
        (run("FAILED", hours=71, name="Unavailable"), False),
        (run("FAILED", hours=73, name="Unavailable"), True),
        (run("RUNNING"), False),
        (run("SCHEDULED"), False),
        (run("CANCELLING"), False),
        (run("CRASHED"), False),
        (run("CRASHED", hours=30), True),
        ({}, False),
        ({"ffffffff": Ended("COMPLETED", "Completed", NOW - timedelta(hours=2))}, False),
    ],
)
def test_only_what_is_over_and_known_here(runs: dict[str, Ended], ended: bool) -> None:
    assert bool(reapable([stray()], runs, NOW, 600)) is ended


def test_what_is_younger_than_the_grace_stays() -> None:
    assert not reapable([stray(hours=0.1)], run("COMPLETED"), NOW, 600)
    assert reapable([Stray("3f2a91bc", "x", "id")], run("COMPLETED"), NOW, 600)


def test_jobs_of_a_queue_are_ours_by_their_name() -> None:
    text = (
        "12|2026-01-01T01:00:00|proctor-3f2a91bc-abcdef-0-1\n"
        "13|2026-01-01T01:00:00|train|proctor-x\n14|N/A|proctor-3f2a91bc\n@end\n"
    )
    assert [(each.native, each.evaluation, each.since) for each in parse(text)] == [
        ("12", "3f2a91bc", datetime(2026, 1, 1, 1, tzinfo=UTC))
    ]


def test_one_look_for_each_machine() -> None:
    here = {"type": "slurm", "hostname": "a", "output_dir": "/x"}
    assert place(here) == place({**here, "output_dir": "/y"})
    assert place(here) != place({**here, "hostname": "b"})


@pytest.mark.parametrize(
    ("state", "hours", "jobs", "useless"),
    [
        (("CANCELLED", "Cancelled"), 0, False, True),
        (("CANCELLED", "Cancelled"), 1, True, False),
        (("CANCELLED", "Cancelled"), 25, True, True),
        (("FAILED", "Failed"), 25, True, True),
        (("FAILED", "Unavailable"), 25, False, False),
        (("FAILED", "Unavailable"), 73, False, True),
        (("CRASHED", "Crashed"), 1, False, False),
        (("CRASHED", "Crashed"), 25, False, True),
        (("RUNNING", "Running"), 999, True, False),
        (("SCHEDULED", "Scheduled"), 999, False, False),
    ],
)
def test_what_was_handed_over_is_deleted_when_nobody_needs_it(
    state: tuple[str, str], hours: int, jobs: bool, useless: bool
) -> None:
    now = datetime.now(UTC)
    assert settled(Ended(*state, now - timedelta(hours=hours)), now, jobs=jobs) is useless
