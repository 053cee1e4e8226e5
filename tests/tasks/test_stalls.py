"""A standstill is told only where requests are counted and somebody looks; a rate only over some time."""

from datetime import UTC, datetime, timedelta

from proctor.tasks.progress import Row
from proctor.tasks.rates import Rates
from proctor.tasks.stalls import Stalls, flagged, stalled_for

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def row(step: str, requests: int | None, state: str = "RUNNING", seen: float = 0) -> Row:
    observed = (BEGIN + timedelta(seconds=seen)).isoformat(timespec="seconds")
    return {"step": step, "requests": requests, "state": state, "message": "", "observed": observed}


def test_a_standstill_is_told_until_a_request_is_answered() -> None:
    def rows(seen: float) -> list[Row]:
        return [row("a", 3, seen=seen), row("b", None, seen=seen), row("c", 1, "PENDING", seen)]

    stalls = Stalls(60)
    assert stalls.look(rows(0), 0) == {}
    assert stalls.look(rows(59), 59) == {}
    found = stalls.look(rows(185), 185)
    assert found == {"a": 185}
    assert [
        each["message"] for each in flagged(rows(185), {step: stalled_for(seconds) for step, seconds in found.items()})
    ] == [*("stalled: no new request for 3 min", "", "")]
    assert stalls.look([row("a", 4, seen=186)], 186) == {}
    assert Stalls(None).look(rows(0), 9999) == {}


def test_nothing_stands_still_while_nobody_can_see_it() -> None:
    stalls = Stalls(60)
    stalls.look([row("a", 3)], 0)
    assert stalls.look([row("a", 3)], 3600) == {}
    assert stalls.look([row("a", 9, seen=3601)], 3601) == {}
    assert stalls.look([row("a", 9, seen=3662)], 3662) == {"a": 61}


def test_a_rate_is_that_of_the_last_minutes() -> None:
    rates = Rates()

    def rate(count: int | None, seen: float, state: str = "RUNNING") -> object:
        return rates.rated([row("a", count, state, seen)])[0]["per_minute"]

    assert rate(0, 0) is None
    assert rate(1, 3) is None
    assert rate(10, 60) == 10
    assert rate(10, 60) == 10
    assert rate(10, 120) == 5
    assert rate(10, 180) == 0
    assert rate(2, 200) is None, "another attempt, whose cache was lost"
    assert rate(None, 210) is None
    assert rate(5, 300, "COMPLETED") is None
