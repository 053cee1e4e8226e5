"""The flow on the simulated backend: what a user sees of an evaluation."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.flows.stack import Stack
from tests.waiting import wait_for

pytestmark = pytest.mark.live


def config(tmp_path: Path, *names: str, **execution: Any) -> dict[str, Any]:
    return {
        "execution": {"type": "simulated", "output_dir": str(tmp_path), "step_seconds": 0.5, **execution},
        "target": {"api_endpoint": {"url": "http://127.0.0.1:9/v1/chat/completions", "model_id": "tiny"}},
        "evaluation": {"tasks": [{"name": name} for name in names]},
    }


def test_an_evaluation_runs_through(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("simulated", config(tmp_path, "mmath_en", "mmath_zh"))
    assert run.until() == "Completed", run.message
    record = run.record
    assert record["name"] == f"tiny on simulated {run.id}"
    expected = {
        "proctor:evaluation",
        f"evaluation:{run.id}",
        "backend:simulated",
        "model:tiny",
        "benchmark:mmath.mmath_en",
        "benchmark:mmath.mmath_zh",
    }
    assert expected <= set(record["tags"])
    ours = {"all_": [f"evaluation:{run.id}", "benchmark:mmath.mmath_en"]}
    assert len(stack.filter("/flow_runs/filter", flow_runs={"tags": ours})) == 2, "the evaluation and its benchmark"
    assert run.states() == {"mmath_en": "Completed", "mmath_zh": "Completed"}
    assert run.folder.parent == tmp_path
    assert "mmath" in run.artifact("plan")
    assert f"](file://{run.folder}/mmath_en.0/harness.log)" in run.artifact("links")
    assert f"- local: [{run.folder}/results.json](file://{run.folder}/results.json)" in run.artifact("links")
    results = json.loads((run.folder / "results.json").read_text())
    assert results == run.artifact("results")
    assert [(each["benchmark"], each["scores"][0]["value"]) for each in results["benchmarks"]] == [
        ("mmath.mmath_en", 0.5),
        ("mmath.mmath_zh", 0.5),
    ]
    assert [row["value"] for row in json.loads(run.artifact("scores"))] == [0.5, 0.5]
    assert (run.folder / "report.html").exists()
    progress = json.loads(run.artifact("progress"))
    assert [(row["benchmark"], row["state"]) for row in progress] == [
        ("mmath.mmath_en", "COMPLETED"),
        ("mmath.mmath_zh", "COMPLETED"),
    ]


def test_one_failing_benchmark_does_not_hide_the_others(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("simulated", config(tmp_path, "mmath_en", "mmath_zh", fail=["mmath_en"], max_parallel=2))
    assert run.until() == "Failed"
    assert run.states() == {"mmath_en": "Failed", "mmath_zh": "Completed"}
    assert "1 of 2 benchmarks have scores" in run.message
    assert "mmath.mmath_en failed: " in run.message
    failed, scored = json.loads((run.folder / "results.json").read_text())["benchmarks"]
    assert (failed["state"], failed["scores"]) == ("FAILED", [])
    assert "exit code 1" in failed["message"]
    assert scored["scores"][0]["value"] == 0.5


def test_task_runs_are_named_after_what_they_do(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("simulated", config(tmp_path, "mmath_en", "mmath_zh", fail=["mmath_en"], max_parallel=2))
    assert run.until() == "Failed"
    ids = {run.flow_run_id: "evaluation"} | {each["id"]: each["name"] for each in run.benchmarks()}

    def names() -> dict[str, set[str]]:
        found = stack.filter("/task_runs/filter", flow_runs={"id": {"any_": list(ids)}})
        return {
            whose: {each["name"] for each in found if each["flow_run_id"] == flow_run}
            for flow_run, whose in ids.items()
        }

    expected = {
        "evaluation": {
            "plan 2 benchmarks on simulated",
            "submit 2 benchmarks to simulated",
            "mmath.mmath_en",
            "mmath.mmath_zh",
            "release 1 job on simulated",
            "collect scores of 1 benchmark",
            "export to local",
        },
        "mmath.mmath_en": {"run mmath_en.0"},
        "mmath.mmath_zh": {"run mmath_zh.1", "fetch mmath_zh.1", "parse mmath_zh.1"},
    }
    with suppress(AssertionError):  # the server writes task runs down a moment later
        wait_for(lambda: names() == expected)
    assert names() == expected


def test_cancelling_one_benchmark_leaves_the_others_alone(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("simulated", config(tmp_path, "mmath_en", "mmath_zh", step_seconds=60, max_parallel=2))
    wait_for(lambda: len(run.benchmarks()) == 2)
    first = next(each for each in run.benchmarks() if "mmath_en" in each["name"])
    wait_for(lambda: run.states()["mmath_en"] == "Running")
    run.cancel(first["id"])
    wait_for(lambda: run.states()["mmath_en"] == "Cancelled", 8)
    assert run.states()["mmath_zh"] == "Running"
    assert run.until() == "Failed"
    assert run.states() == {"mmath_en": "Cancelled", "mmath_zh": "Completed"}
    assert "mmath.mmath_en was cancelled" in run.message


def test_cancelling_an_evaluation_releases_its_jobs(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("simulated", config(tmp_path, "mmath_en", "mmath_zh", step_seconds=300))
    wait_for(lambda: list(run.states().values()) == ["Running"] * 2)
    run.cancel()
    assert run.until(seconds=30) == "Cancelled"
    wait_for(lambda: set(run.states().values()) == {"Cancelled"}, 30)
    (memory,) = (run.folder / ".proctor").glob("proctor-*.json")
    assert set(json.loads(memory.read_text())["cancelled"]) == {"mmath_en.0", "mmath_zh.1"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"evaluation": {"tasks": []}}, "tasks"),
        ({"execution": {"type": "simulated", "step_seconds": -1}}, "step_seconds"),
        ({"execution": {"type": "simulatd"}}, "simulatd"),
        ({"evaluatoin": {}}, "evaluatoin"),
    ],
    ids=["no tasks", "negative", "unknown type", "unknown key"],
)
def test_bad_parameters_are_refused_at_creation(
    stack: Stack, tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    answer = stack.create("simulated", config(tmp_path, "mmath_en") | change)
    assert answer.status_code == 409
    assert named in answer.text


def test_a_mistake_in_the_config_is_one_sentence(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("simulated", config(tmp_path, "mmath_enn"))
    assert run.until() == "Failed"
    assert run.message.startswith("evaluation.tasks: there is no benchmark 'mmath_enn'; did you mean ")
    logs = stack.filter("/logs/filter", logs={"flow_run_id": {"any_": [run.flow_run_id]}})
    assert not [line for line in logs if "Traceback" in line["message"]]


def test_a_backend_out_of_sight_leaves_the_jobs_alone(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("simulated", config(tmp_path, "mmath_en", "mmath_zh", vanish=["mmath_en"], patience=3))
    assert run.until() == "Unavailable"
    assert run.states()["mmath_en"] == "Unavailable"
    assert f"proctor resume {run.id}" in run.message
    (memory,) = (run.folder / ".proctor").glob("proctor-*.json")
    assert json.loads(memory.read_text())["cancelled"] == {}
