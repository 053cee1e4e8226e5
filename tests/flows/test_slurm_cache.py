"""A real harness that a cluster interrupts: what its endpoint has answered is not asked again."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from tests.cluster import PREEMPTIBLE, SSHD, as_user, preempt
from tests.engine import require_image
from tests.fake_harness.fake_harness import Handler
from tests.flows.stack import Run, Stack
from tests.flows.test_slurm_flow import living
from tests.waiting import wait_for

pytestmark = pytest.mark.live

SAMPLES = 25


def end_walltime(run: Run) -> None:
    """Let the walltime of its job be a minute from its start: Slurm looks twice a minute."""
    (job,) = living(run)
    as_user("scontrol", "update", f"JobId={job.split()[1]}", "TimeLimit=1")


INTERRUPTIONS: dict[str, tuple[dict[str, Any], Callable[[Run], None]]] = {
    "preemption": (PREEMPTIBLE, lambda _: preempt()),
    "walltime": ({}, end_walltime),
}


class Counting(Handler):
    """Takes its time, and knows what it was asked."""

    asked: ClassVar[Counter[str]] = Counter()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        time.sleep(2)
        self.asked[body] += 1
        message = {"role": "assistant", "content": "4"}
        self.answer(
            {
                **{"id": "x", "object": "chat.completion", "created": 1, "model": "fake-model"},
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        )


@pytest.fixture
def counting() -> Iterator[str]:
    """The URL of an endpoint that counts."""
    Counting.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Counting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
    server.shutdown()


def config(home: Path, shared: Path, endpoint: str, **execution: Any) -> dict[str, Any]:
    """One benchmark of the real harness in a container under sbatch."""
    params = {"limit_samples": SAMPLES, "parallelism": 1, "max_new_tokens": 8, "extra": {"n_samples": 1}}
    return {
        "execution": {
            **{"type": "slurm", "hostname": "cluster", "ssh_config": str(SSHD / "ssh_config"), "account": "eval"},
            **{"partition": "gpu", "walltime": 600, "container_runtime": "docker", "output_dir": str(shared)},
            **{"local_dir": str(home), "poll_interval": 1, **execution},
        },
        "target": {"api_endpoint": {"url": endpoint, "model_id": "fake-model"}},
        "evaluation": {
            "trust_unlisted": True,
            "env_vars": {"OPENAI_API_KEY": "lit:unused"},
            "nemo_evaluator_config": {"config": {"params": params}},
            "tasks": [{"name": "mmath_en", "container": require_image("proctor-test/eval:1")}],
        },
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_the_next_attempt_asks_only_what_was_not_answered(
    stack: Stack, tmp_path: Path, shared: Path, counting: str, interruption: str
) -> None:
    settings, interrupt = INTERRUPTIONS[interruption]
    run = stack.start("slurm", config(tmp_path, shared, counting, **settings))
    wait_for(lambda: len(Counting.asked) >= 4 or run.state in {"Failed", "Completed"})
    assert run.state == "Running", run.message
    interrupt(run)
    assert run.until(seconds=420) == "Completed", run.message
    (result,) = json.loads((run.folder / "results.json").read_text())["benchmarks"]
    again = result["attempts"] - 1
    assert again >= 1, "it was interrupted"
    assert len(Counting.asked) == SAMPLES
    assert Counting.asked.total() <= SAMPLES + again, "only what was under way when it was interrupted is asked twice"
    assert result["requests"] in range(SAMPLES, SAMPLES + again + 1)
    cached = yaml.safe_load((run.folder / "mmath_en.0" / "run_config.yml").read_text())
    assert "caching" in str(cached["target"]["api_endpoint"]["adapter_config"])
    assert not (run.folder / "mmath_en.0" / "cache").exists(), "it stays on the cluster"
