"""What changed since the previous comparable run: scores are compared only where what they depend on agrees. Pure."""

from collections.abc import Mapping

from proctor.tasks.results import BenchmarkResult, EvaluationResult, Score

FIELDS = ("isolation", "image_digest", "image", "packages", "model", "models_served", "endpoint_type", "params")
"""What must be the same; folders, endpoints' addresses and our own version may differ."""


def differences(now: BenchmarkResult, before: BenchmarkResult) -> list[str]:
    """The names of what differs between two runs of a benchmark; empty when their scores can be compared."""
    if now.provenance is None or before.provenance is None:
        return ["provenance"]
    ours, theirs = now.provenance.model_dump(), before.provenance.model_dump()
    return [name for name in FIELDS if ours[name] != theirs[name]]


def compared(result: EvaluationResult, before: EvaluationResult) -> EvaluationResult:
    """The result with the change of every score since `before`, where they can be compared."""
    earlier = {each.benchmark: each for each in before.benchmarks if each.scores}
    benchmarks = [
        with_changes(each, earlier[each.benchmark])
        if each.benchmark in earlier and not differences(each, earlier[each.benchmark])
        else each
        for each in result.benchmarks
    ]
    return result.model_copy(update={"benchmarks": benchmarks, "compared_with": before.evaluation})


def with_changes(now: BenchmarkResult, before: BenchmarkResult) -> BenchmarkResult:
    """The scores with their changes."""
    values: Mapping[str, float] = {score.name: score.value for score in before.scores}
    scores: list[Score] = [
        score.model_copy(update={"change": score.value - values[score.name]}) if score.name in values else score
        for score in now.scores
    ]
    return now.model_copy(update={"scores": scores})


def incomparable(result: EvaluationResult, before: EvaluationResult) -> list[str]:
    """For a person: which benchmarks cannot be compared with the previous run, and why."""
    earlier = {each.benchmark: each for each in before.benchmarks if each.scores}
    found = [
        (each.benchmark, differences(each, earlier[each.benchmark]))
        for each in result.benchmarks
        if each.scores and each.benchmark in earlier
    ]
    return [f"{benchmark}: {', '.join(names)} differ" for benchmark, names in found if names]
