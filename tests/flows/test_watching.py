"""What a user sees without opening a log: what changed since last night, and what stands still."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.fake_harness.fake_harness import Handler
from tests.flows.stack import Stack
from tests.flows.test_evaluate import config
from tests.flows.test_reattach import HARNESS
from tests.flows.test_reattach import config as real_config
from tests.waiting import wait_for

pytestmark = pytest.mark.live


def test_the_change_against_the_previous_comparable_run(stack: Stack, tmp_path: Path) -> None:
    def run(score: float, name: str) -> list[object]:
        content = config(tmp_path, "mmath_en", score=score, step_seconds=0.1)
        content["target"]["api_endpoint"]["model_id"] = name
        evaluation = stack.start("simulated", content)
        assert evaluation.until() == "Completed", evaluation.message
        time.sleep(0.1)
        (row,) = json.loads(evaluation.artifact("scores"))
        return [row["value"], row["change"], evaluation]

    assert run(0.5, "watched")[:2] == [0.5, None]
    assert run(0.9, "other-model")[:2] == [0.9, None]
    value, change, _ = run(0.75, "watched")
    assert (value, change) == (0.75, pytest.approx(0.25))


def test_a_nightly_run_is_compared_with_last_night_though_it_was_created_before(stack: Stack, tmp_path: Path) -> None:
    """Prefect's scheduler makes the runs of the next days in advance; a run with one failure counts, too."""
    due = datetime.now(UTC) + timedelta(hours=1)
    content = config(tmp_path, "mmath_en", "mmath_zh", score=0.75, step_seconds=0.1)
    content["target"]["api_endpoint"]["model_id"] = "planned-ahead"
    tonight = stack.start("simulated", content, due)
    content["execution"] |= {"score": 0.5, "fail": ["mmath_zh"]}
    last_night = stack.start("simulated", content)
    assert last_night.until("Failed") == "Failed"
    tonight.hurry()
    assert tonight.until() == "Completed", tonight.message
    assert [row["change"] for row in json.loads(tonight.artifact("scores"))] == [pytest.approx(0.25), None]
    assert tonight.artifact("results")["compared_with"] == last_night.id
    assert tonight.folder.name == f"{due:%Y%m%d_%H%M%S}-{tonight.id}"
    began = datetime.fromisoformat(tonight.artifact("results")["started"])
    assert began > datetime.fromisoformat(last_night.record["end_time"]), "not when the schedule made it"


def test_a_deleted_progress_table_is_made_again(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("simulated", config(tmp_path, "mmath_en", step_seconds=300))

    def table() -> str:
        found = stack.filter("/artifacts/latest/filter", artifacts={"key": {"any_": [f"progress-{run.id}"]}})
        return str(found[0]["latest_id"]) if found else ""

    first = wait_for(table)
    stack.delete(f"/artifacts/{first}")
    second = wait_for(lambda: (now := table()) != first and now)
    assert second
    run.cancel()
    run.until("Cancelled")


@pytest.mark.parametrize("action", ["flag", "cancel"])
def test_a_stalled_benchmark(stack: Stack, endpoint: str, cache: str, tmp_path: Path, action: str) -> None:
    section = {"type": "process", "cache_dir": cache, "stall_timeout": 2, "stall_action": action}
    script = "(out / 'progress').write_text('7')\nwhile not (out / 'go').exists(): time.sleep(0.1)"
    place = {"execution": section, "task": {"packages": [str(HARNESS)]}}
    run = stack.start("process", real_config(tmp_path, endpoint, place, script))

    def first() -> dict[str, object]:
        return dict(json.loads(run.artifact("progress") or "[{}]")[0])

    if action == "flag":
        wait_for(lambda: "stalled: no new request for " in str(first().get("message")))
        assert (first()["state"], first()["requests"]) == ("RUNNING", 7)
        run.cancel()
        run.until("Cancelled")
    else:
        wait_for(lambda: run.states().get("alpha") == "Cancelled")
        assert run.until() == "Failed"
        assert run.states() == {"alpha": "Cancelled", "beta": "Cancelled"}
        assert "fake.alpha was cancelled (stalled: no new request for " in run.message
        assert (first()["state"], str(first()["message"])[:8]) == ("CANCELLED", "stalled:")


@pytest.fixture
def tired() -> Iterator[str]:
    """A model endpoint that answers three requests and then keeps everybody waiting."""
    left, never = iter(range(3)), Event()

    class Tired(Handler):
        def do_POST(self) -> None:
            if next(left, None) is None:
                never.wait(300)
            super().do_POST()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Tired)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
    never.set()
    server.shutdown()


def test_a_real_harness_whose_endpoint_hangs_is_stalled(stack: Stack, tired: str, tmp_path: Path) -> None:
    """Counted through the caching interceptor of NeMo Evaluator itself, which every request of its harness passes."""
    parameters = {"temperature": 0.0, "parallelism": 1, "request_timeout": 250}
    content = {
        "execution": {"type": "process", "output_dir": str(tmp_path), "stall_timeout": 40, "stall_action": "cancel"},
        "target": {"api_endpoint": {"url": tired, "model_id": "fake-model"}},
        "evaluation": {
            "env_vars": {"OPENAI_API_KEY": "lit:unused"},
            "nemo_evaluator_config": {"config": {"params": parameters}},
            "tasks": [{"name": "primer_facts"}],
        },
    }
    run = stack.start("process", content)

    assert run.until() == "Failed"
    assert run.states() == {"primer_facts": "Cancelled"}
    row = json.loads(run.artifact("progress"))[0]
    assert (row["state"], row["requests"]) == ("CANCELLED", 3)
    assert str(row["message"]).startswith("stalled: no new request for ")
