"""What nemo-evaluator reads the scores with."""

import json
from pathlib import Path

from nemo_evaluator.api.api_dataclasses import EvaluationResult, MetricResult, Score, ScoreStats, TaskResult


def parse_output(output_dir: str) -> EvaluationResult:
    """The accuracy of the benchmark that ran, with count, deviation and standard error."""
    found = json.loads(Path(output_dir, "primer.json").read_text())
    return EvaluationResult(tasks={name: task(statistics) for name, statistics in found.items()})


def task(statistics: dict[str, float]) -> TaskResult:
    """One benchmark's result."""
    score = Score(value=statistics["mean"], stats=ScoreStats.model_validate(statistics))
    return TaskResult(metrics={"accuracy": MetricResult(scores={"accuracy": score})})
