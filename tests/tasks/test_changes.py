"""Changes are told only between runs that can be compared; a standstill only where requests are counted."""

from proctor.tasks.changes import compared, differences, incomparable
from proctor.tasks.progress import Row
from proctor.tasks.results import EvaluationResult
from proctor.tasks.stalls import Stalls, flagged
from tests.tasks.exporters.results import PROVENANCE, result


def with_params(temperature: float) -> EvaluationResult:
    found = result(value=0.75)
    proof = PROVENANCE.model_copy(update={"params": {"temperature": temperature}})
    first = found.benchmarks[0].model_copy(update={"provenance": proof})
    return found.model_copy(update={"benchmarks": [first, *found.benchmarks[1:]], "evaluation": "00000001"})


def test_a_change_is_the_difference_of_comparable_scores() -> None:
    changed = compared(with_params(0.0), result())
    assert [score.change for score in changed.benchmarks[0].scores] == [0.25, 0.0]
    assert changed.compared_with == "3f2a91bc"
    assert incomparable(with_params(0.0), result()) == []


def test_other_parameters_are_named_and_nothing_is_compared() -> None:
    now = with_params(0.7)
    assert differences(now.benchmarks[0], result().benchmarks[0]) == ["params"]
    assert [score.change for score in compared(now, result()).benchmarks[0].scores] == [None, None]
    assert incomparable(now, result()) == ["mmath.mmath_en: params differ"]


def row(step: str, requests: int | None, state: str = "RUNNING") -> Row:
    return {"step": step, "requests": requests, "state": state, "message": ""}


def test_a_standstill_is_told_until_a_request_is_answered() -> None:
    stalls = Stalls(60)
    assert stalls.look([row("a", 3), row("b", None), row("c", 1, "PENDING")], 0) == {}
    assert stalls.look([row("a", 3), row("b", None), row("c", 1, "PENDING")], 59) == {}
    rows = [row("a", 3), row("b", None), row("c", 1, "PENDING")]
    found = stalls.look(rows, 185)
    assert found == {"a": 185}
    assert [each["message"] for each in flagged(rows, found)] == ["stalled: no new request for 3 min", "", ""]
    assert stalls.look([row("a", 4)], 186) == {}
    assert Stalls(None).look(rows, 9999) == {}
