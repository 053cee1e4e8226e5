"""The primer harness: its questions are sound and its judge is neither strict nor gullible."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).parents[2] / "demo" / "harness" / "src"


@pytest.fixture(scope="module")
def primer() -> ModuleType:
    sys.path.insert(0, str(SOURCE))
    try:
        return importlib.import_module("core_evals.primer.facts")
    finally:
        sys.path.remove(str(SOURCE))


@pytest.mark.parametrize(
    ("answer", "accepted", "right"),
    [
        ("Paris", ["Paris"], True),
        ("The capital of France is **Paris**.", ["Paris"], True),
        ("the capital is Ulan-Bator!", ["Ulaanbaatar", "Ulan Bator"], True),
        ("It is São Paulo.", ["Sao Paulo"], True),
        ("2 + 2 equals 4.", ["4"], True),
        ("about 3.5 metres. That is 7 feet", ["7"], False),
        ("It is 14.", ["4"], False),
        ("The word catalog", ["cat"], False),
        ("It is Lyon. No, Paris.", ["Paris"], False),
        ("It is Lyon\nParis", ["Paris"], False),
        ("", ["Paris"], False),
    ],
)
def test_the_first_sentence_must_hold_the_answer(
    primer: ModuleType, answer: str, accepted: list[str], right: bool
) -> None:
    assert primer.holds(answer, accepted) is right


def test_statistics_of_an_accuracy(primer: ModuleType) -> None:
    found = primer.statistics([1, 1, 1, 0])
    assert found == pytest.approx({"count": 4, "mean": 0.75, "stddev": 0.4330127, "stderr": 0.25})
    assert primer.statistics([1])["stderr"] == 0.0
    with pytest.raises(ValueError, match="no samples"):
        primer.statistics([])


def test_the_questions_are_sound(primer: ModuleType) -> None:
    questions = primer.questions()
    assert len(questions) == 40
    assert len({question.id for question in questions}) == len({question.text for question in questions}) == 40
    for question in questions:
        assert all(answer.strip() for answer in question.accepted)
        assert primer.holds(question.accepted[0], question.accepted)
        assert not primer.holds(question.text, question.accepted), f"{question.id} gives its answer away"
    assert [question.id for question in primer.questions(3)] == [question.id for question in questions[:3]]
