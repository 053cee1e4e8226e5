"""What changed since the previous comparable run: scores are compared only where what they depend on agrees. Pure."""

from collections.abc import Mapping, Sequence

from proctor.tasks.results import BenchmarkResult, EvaluationResult, Score

FIELDS = (
    "isolation",
    "image_digest",
    "image",
    "server_image_digest",
    "packages",
    "model",
    "models_served",
    "endpoint_type",
    "params",
)
"""What must be the same; folders, endpoints' addresses and our own version may differ."""


def differences(now: BenchmarkResult, before: BenchmarkResult) -> list[str]:
    """The names of what differs between two runs of a benchmark; empty when their scores can be compared."""
    if now.provenance is None or before.provenance is None:
        return ["provenance"]
    ours, theirs = now.provenance.model_dump(), before.provenance.model_dump()
    return [name for name in FIELDS if ours[name] != theirs[name]]


def compared(result: EvaluationResult, before: EvaluationResult) -> EvaluationResult:
    """The result with the changes since `before` of every benchmark that can be compared with it and is with nothing yet."""
    benchmarks = [since(each, before) if open_still(each) else each for each in result.benchmarks]
    any_change = any(each.compared_with == before.evaluation for each in benchmarks)
    newest = result.compared_with or (before.evaluation if any_change else None)
    return result.model_copy(update={"benchmarks": benchmarks, "compared_with": newest})


def open_still(now: BenchmarkResult) -> bool:
    """Whether a benchmark has scores that are compared with nothing yet."""
    return bool(now.scores) and now.compared_with is None


def since(now: BenchmarkResult, before: EvaluationResult) -> BenchmarkResult:
    """The benchmark with its changes since an earlier evaluation; as it is where that has no comparable scores."""
    same = [each for each in scored(now, before) if not differences(now, each)]
    if not same:
        return now
    values: Mapping[str, float] = {score.name: score.value for score in same[0].scores}
    scores: list[Score] = [
        score.model_copy(update={"change": difference(score.value, values[score.name])})
        if score.name in values
        else score
        for score in now.scores
    ]
    return now.model_copy(update={"scores": scores, "compared_with": before.evaluation})


def difference(now: float, before: float) -> float:
    """How much higher the value is now, without the noise of binary fractions: 0.66 is 0.04 above 0.62."""
    return round(now - before, 12)


def scored(now: BenchmarkResult, before: EvaluationResult) -> list[BenchmarkResult]:
    """The results of the same benchmark in an earlier evaluation that have scores."""
    return [each for each in before.benchmarks if each.benchmark == now.benchmark and each.scores]


def said(result: EvaluationResult, earlier: Sequence[EvaluationResult]) -> str:
    """For a person: what the changes refer to, and which benchmarks could be compared with none of the earlier runs."""
    names = list(dict.fromkeys(each.compared_with for each in result.benchmarks if each.compared_with))
    change = f"Change against evaluation {names[0]}" if names else ""
    if len(names) > 1:
        change = f"Change of each benchmark against its newest comparable run ({', '.join(names)})"
    missing = "; ".join(words for each in result.benchmarks if open_still(each) and (words := why(each, earlier)))
    return ". ".join(filter(None, [change, f"Not comparable: {missing}" if missing else ""]))


def why(now: BenchmarkResult, earlier: Sequence[EvaluationResult]) -> str:
    """Why a benchmark cannot be compared with the newest run that has scores of it; empty where none has."""
    for before in earlier:
        for each in scored(now, before):
            return f"{now.benchmark}: {', '.join(differences(now, each))} differ from evaluation {before.evaluation}"
    return ""
