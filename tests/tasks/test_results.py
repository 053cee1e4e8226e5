"""What a benchmark left behind becomes typed scores, or a named error."""

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proctor.blocks.errors import ResultError
from proctor.tasks import report
from proctor.tasks.results import (
    BenchmarkResult,
    EvaluationResult,
    Score,
    read_harness_versions,
    read_models_served,
    read_params,
    read_requests,
    read_scores,
)

MMATH = """
config: {output_dir: /results, params: {extra: {language: en}, limit_samples: 2, temperature: 0.0}, type: mmath_en}
results:
  groups:
    MMATH: {metrics: {accuracy: {scores: {accuracy: {stats: {}, value: 0.25}}}}}
  tasks:
    AIME2024: {metrics: {accuracy: {scores: {accuracy: {stats: {count: 30, stderr: 0.08}, value: 0.5}}}}}
"""
BFCL = """
results:
  groups:
    bfcl:
      metrics: {}
      groups:
        simple: {metrics: {score: {scores: {micro: {stats: {}, value: 0.0}}}}}
  tasks: {}
"""


def write(folder: Path, text: str) -> Path:
    (folder / "results.yml").write_text(text)
    return folder


def test_tasks_come_before_groups(tmp_path: Path) -> None:
    assert read_scores(write(tmp_path, MMATH))[0] == [
        Score(name="AIME2024.accuracy", value=0.5, stderr=0.08, samples=30),
        Score(name="MMATH.accuracy", value=0.25, group=True),
    ]


def test_empty_tasks_leave_the_groups_of_groups(tmp_path: Path) -> None:
    assert read_scores(write(tmp_path, BFCL))[0] == [Score(name="bfcl.simple.score.micro", value=0.0, group=True)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty or cut off"),
        ("results: {tasks: {}, groups: {}}", "neither results.tasks nor results.groups"),
        ("config: {}", "no section `results`"),
        ("results: [1]", "no section `results`"),
        ("results: {tasks: {a: 3}}", "results.tasks.a is a int"),
        (
            "results: {tasks: {a: {metrics: {m: {scores: {s: {value: high}}}}}}}",
            r"results.tasks.a.metrics.m.scores.s.value is 'high'",
        ),
        ("results: {tasks: {a: {metrics: {m: {sco", "cannot be read"),
        ("results: {tasks: {a: {metrics: {m: {scores: {s: {value: .nan}}}}}}}", "no score is a number: a.m.s is nan"),
    ],
)
def test_malformed_results_are_told_by_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ResultError, match=words) as caught:
        read_scores(write(tmp_path, text))
    assert "results.yml" in str(caught.value)


def test_a_score_that_is_no_number_hides_no_other_one(tmp_path: Path) -> None:
    text = MMATH.replace("value: 0.25", "value: .nan").replace("stderr: 0.08", "stderr: .inf")
    scores, remark = read_scores(write(tmp_path, text))
    first = RESULT.benchmarks[0].model_copy(update={"scores": scores, "message": remark})
    result = RESULT.model_copy(update={"benchmarks": [first]})
    read_again = EvaluationResult.model_validate_json(report.as_json(result)).benchmarks[0]
    assert read_again.scores == [Score(name="AIME2024.accuracy", value=0.5, stderr=None, samples=30)]
    assert read_again.message == "left out, because it is no number: MMATH.accuracy is nan"
    assert "MMATH.accuracy is nan" in report.as_html(result)


def test_missing_results_are_told(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"results.yml is missing"):
        read_scores(tmp_path)


def test_provenance_is_read_and_nothing_is_guessed(tmp_path: Path) -> None:
    assert read_params(tmp_path) == {}
    assert read_models_served(tmp_path) == []
    write(tmp_path, MMATH)
    (tmp_path / "server-models.json").write_text('{"data": [{"id": "smollm2"}]}')
    (tmp_path / "environment.txt").write_text("nvidia-mmath==26.3\nnumpy==2.0\n")
    assert read_params(tmp_path) == {"extra": {"language": "en"}, "limit_samples": 2, "temperature": 0.0}
    assert read_models_served(tmp_path) == ["smollm2"]
    assert read_harness_versions(tmp_path) == {"nvidia-mmath": "26.3"}


RESULT = EvaluationResult(
    evaluation="3f2a91bc",
    name="demo",
    model="<script>alert(1)</script>",
    execution="process",
    benchmarks=[
        BenchmarkResult(
            benchmark="primer.primer_facts",
            step="primer_facts.0",
            state="COMPLETED",
            scores=[Score(name="facts.accuracy", value=0.625, stderr=0.07, samples=40)],
            started=datetime(2026, 1, 1, tzinfo=UTC),
            ended=datetime(2026, 1, 1, 0, 1, 5, tzinfo=UTC),
        ),
        BenchmarkResult(benchmark="mmath.mmath_en", step="mmath_en.1", state="FAILED", message="timed out after 60 s"),
    ],
)


def test_every_format_tells_scores_and_failures(tmp_path: Path) -> None:
    written = report.write_report(RESULT, tmp_path / "out", ["json", "csv", "html"])
    assert EvaluationResult.model_validate(json.loads(written["json"].read_text())) == RESULT
    rows = list(csv.DictReader(io.StringIO(written["csv"].read_text())))
    assert [(row["benchmark"], row["value"], row["samples"]) for row in rows] == [
        ("primer.primer_facts", "0.625", "40"),
        ("mmath.mmath_en", "", ""),
    ]
    page = written["html"].read_text()
    assert "timed out after 60 s" in page
    assert "1 min 05 s" in page
    assert "<script>" not in page
    assert "http" not in page.replace("http-equiv", ""), "self-contained: nothing is loaded from anywhere"
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_only_the_wanted_formats_are_written(tmp_path: Path) -> None:
    assert set(report.write_report(RESULT, tmp_path, ["csv"])) == {"csv"}
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]


def test_bars_share_one_scale() -> None:
    (bar,) = report.plot(RESULT)
    assert bar["percent"] == pytest.approx(62.5)
    assert bar["ends"] == pytest.approx((55.5, 69.5))


def test_requests_are_counted_where_the_harness_says_and_what_others_wrote_besides_is_not_read(tmp_path: Path) -> None:
    assert read_requests(tmp_path) is None
    (tmp_path / "eval_factory_metrics.json").write_text("[1]")
    assert read_requests(tmp_path) is None
    (tmp_path / "eval_factory_metrics.json").write_text('{"response_stats": {"count": 7}}')
    assert read_requests(tmp_path) == 7
    old = {"benchmark": "a.b", "step": "b.0", "state": "COMPLETED", "cache_hits": None}
    assert BenchmarkResult.model_validate(old).step == "b.0"
    assert "cache_hits" not in BenchmarkResult.model_fields
