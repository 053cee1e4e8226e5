"""The server does what it is asked, and its answer is lost: nothing happens twice, and nothing is taken for something else."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.flows.stack import Run, Stack
from tests.flows.test_evaluate import config
from tests.flows.test_reattach import HARNESS, begin, go, jobs, murder, starts
from tests.lossy_proxy import LossyProxy
from tests.waiting import wait_for

pytestmark = pytest.mark.live


@pytest.fixture
def lossy(stack: Stack) -> Iterator[LossyProxy]:
    """What loses the first answer to every change that the worker and its engines ask for."""
    stack.kill_worker()
    since = datetime.now(UTC)
    try:
        with LossyProxy(stack.api) as proxy:
            stack.through = proxy.url
            stack.start_worker()
            yield proxy
            wait_for(lambda: not under_way(stack, since))  # what has begun knows the server by this address only
            stack.kill_worker()
    finally:
        stack.through = ""
        stack.mend()


def under_way(stack: Stack, since: datetime) -> list[str]:
    """Runs that have been taken up since then and not ended."""
    wanted = {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}
    found = stack.filter("/flow_runs/filter", flow_runs=wanted)
    return [each["name"] for each in found if datetime.fromisoformat(each["state"]["timestamp"]) > since]


def doubled(run: Run) -> list[str]:
    """Benchmark runs, task runs of the evaluation and versions of artifacts that are there more than once.

    A benchmark that is started again is submitted again, and its first attempt released.
    """
    tasks = run.stack.filter("/task_runs/filter", flow_runs={"id": {"any_": [run.flow_run_id]}})
    artifacts = run.stack.filter("/artifacts/filter", flow_runs={"id": {"any_": [run.flow_run_id]}})
    things = Counter(
        [f"benchmark {each['name']}" for each in run.benchmarks()]
        + [f"task {each['name']}" for each in tasks if len(jobs(run)) == 1]
        + [f"artifact {each['key']} {json.dumps(each['data'])}" for each in artifacts]
    )
    return [name for name, count in things.items() if count > 1]


@pytest.mark.timeout(900)
def test_evaluations_bear_the_loss_of_every_answer(
    stack: Stack, tmp_path: Path, endpoint: str, cache: str, lossy: LossyProxy
) -> None:
    """One with a benchmark that fails, and one with a benchmark whose first attempt is lost."""
    place = {"execution": {"type": "process", "cache_dir": cache}, "task": {"packages": [str(HARNESS)]}}
    simple = stack.start("simulated", config(tmp_path, "mmath_en", "mmath_zh", "mmath_fr", fail=["mmath_fr"]))
    again = begin(stack, tmp_path / "again", endpoint, place)
    murder(again, "alpha.0")
    go(again)
    assert simple.until(seconds=300) == "Failed", simple.message
    assert "2 of 3 benchmarks have scores" in simple.message
    assert simple.states() == {"mmath_en": "Completed", "mmath_zh": "Completed", "mmath_fr": "Failed"}
    assert again.until(seconds=300) == "Completed", again.message
    assert again.states() == {"alpha": "Completed", "beta": "Completed"}
    assert starts(again.folder) == {"alpha": 2, "beta": 1}
    for run, scores in ((simple, [1, 1, 0]), (again, [1, 1])):
        results = json.loads((run.folder / "results.json").read_text())
        assert [len(each["scores"]) for each in results["benchmarks"]] == scores
        assert results == run.artifact("results")
        assert run.record["run_count"] == 1
        assert not doubled(run)
    for what in ("POST /api/flow_runs/", "POST /api/task_runs/", "POST /api/artifacts/", "PATCH /api/artifacts/"):
        assert [each for each in lossy.lost if each.startswith(what)], what
