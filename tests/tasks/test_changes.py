"""Changes are told only between runs that can be compared."""

from proctor.tasks.changes import compared, differences, said
from proctor.tasks.results import BenchmarkResult, EvaluationResult, Score
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
    assert said(changed, [result()]) == "Change against evaluation 3f2a91bc"


def test_a_change_has_no_noise_of_binary_fractions() -> None:
    def accuracy(value: float) -> EvaluationResult:
        first = result().benchmarks[0]
        benchmark = first.model_copy(update={"scores": [Score(name="accuracy", value=value)]})
        return result().model_copy(update={"benchmarks": [benchmark]})

    assert compared(accuracy(0.66), accuracy(0.62)).benchmarks[0].scores[0].change == 0.04


def test_other_parameters_are_named_and_nothing_is_compared() -> None:
    now = with_params(0.7)
    assert differences(now.benchmarks[0], result().benchmarks[0]) == ["params"]
    after = compared(now, result())
    assert ([score.change for score in after.benchmarks[0].scores], after.compared_with) == ([None, None], None)
    assert said(after, [result()]) == "Not comparable: mmath.mmath_en: params differ from evaluation 3f2a91bc"


def test_each_benchmark_is_compared_with_its_newest_comparable_run() -> None:
    def named(evaluation: str, *benchmarks: BenchmarkResult) -> EvaluationResult:
        return result().model_copy(update={"evaluation": evaluation, "benchmarks": list(benchmarks)})

    def scored(name: str, value: float) -> BenchmarkResult:
        scores = [Score(name="accuracy", value=value)]
        return result().benchmarks[0].model_copy(update={"benchmark": name, "scores": scores})

    def flaky(name: str) -> BenchmarkResult:
        return BenchmarkResult(benchmark=name, step="x.0", state="FAILED", message="timed out")

    now = named("00000003", scored("a", 0.75), scored("b", 0.75), scored("new", 0.5))
    earlier = [
        named("00000002", scored("a", 0.5), flaky("b")),
        named("00000001", scored("a", 0.25), scored("b", 0.25), scored("gone", 0.5)),
    ]
    for before in earlier:
        now = compared(now, before)
    assert [each.scores[0].change for each in now.benchmarks] == [0.25, 0.5, None]
    assert [each.compared_with for each in now.benchmarks] == ["00000002", "00000001", None]
    assert said(now, earlier) == "Change of each benchmark against its newest comparable run (00000002, 00000001)"
