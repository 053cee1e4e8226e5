"""Whole evaluations in containers, through the flow: what the results say, what they must not say, what is asked twice."""

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
import yaml

from proctor.configs.load import load
from tests.engine import engine, fake_harness_image, require_image
from tests.fake_harness.fake_harness import Handler
from tests.flows.stack import Run, Stack, free_port
from tests.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.live

CANARY = "canary-2f60c1a9be"
BLOCK = "import sys; from prefect.blocks.system import Secret; Secret(value=sys.stdin.read()).save('flow-canary', overwrite=True)"


@contextmanager
def processes_seen() -> Iterator[set[str]]:
    """Every command line that is seen while the block runs."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            seen.update(" ".join(each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"]))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def holding(text: str, *folders: Path) -> list[Path]:
    """The files below these folders that hold a text."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if text.encode() in path.read_bytes()]


def test_results_say_which_images_ran_and_no_secret(stack: Stack, tmp_path: Path) -> None:
    image, port = fake_harness_image(), free_port()
    save = [sys.executable, "-c", BLOCK]
    subprocess.run(save, env=stack.env, cwd=stack.home, input=CANARY, text=True, check=True)
    script = "(out / 'knows').write_text(str(len(os.environ['TOKEN']))); time.sleep(2)"
    config = {
        "execution": {"type": "local", "output_dir": str(tmp_path / "out"), "endpoint_readiness_timeout": 60},
        "deployment": {
            **{"type": "generic", "image": image, "port": port, "command": f"fake-server {port}"},
            "served_model_name": "fake-model",
        },
        "evaluation": {
            "trust_unlisted": True,
            "env_vars": {"TOKEN": "secret:flow-canary", "FAKE_SCRIPT": f"lit:{script}"},
            "tasks": [{"name": "fake.alpha", "container": image}],
        },
    }
    with processes_seen() as commands:
        run = stack.start("local", config)
        assert run.until() == "Completed", run.message
    (result,) = json.loads((run.folder / "results.json").read_text())["benchmarks"]
    proof, digest = result["provenance"], engine().images.get(image).id
    assert (proof["isolation"], proof["image"], proof["image_digest"]) == ("container", image, digest)
    assert (proof["server_image"], proof["server_image_digest"]) == (image, digest)
    assert (proof["model"], proof["models_served"]) == ("fake-model", ["fake-model"])
    assert proof["endpoint"] == f"http://127.0.0.1:{port}/v1/chat/completions"
    assert (result["state"], result["attempts"], result["scores"][0]["samples"]) == ("COMPLETED", 1, 4)
    assert f"the model server runs {image} by tag" in run.artifact("plan")
    kept = load(run.folder, "config")
    assert kept.deployment.type == "generic"
    assert kept.evaluation.env_vars["TOKEN"] == "secret:flow-canary"
    assert (run.folder / "alpha.0" / "knows").read_text() == str(len(CANARY))
    assert holding(CANARY, stack.home, tmp_path) == []
    assert not [command for command in commands if CANARY in command]


def test_a_harness_that_tells_a_secret_is_quoted_without_it(stack: Stack, tmp_path: Path) -> None:
    image, port = fake_harness_image(), free_port()
    save = [sys.executable, "-c", BLOCK]
    subprocess.run(save, env=stack.env, cwd=stack.home, input=CANARY, text=True, check=True)
    config = {
        "execution": {"type": "local", "output_dir": str(tmp_path)},
        "deployment": {"type": "generic", "image": image, "port": port, "command": f"fake-server {port}"},
        "target": {"api_endpoint": {"model_id": "fake-model"}},
        "evaluation": {
            "trust_unlisted": True,
            "env_vars": {
                "TOKEN": "secret:flow-canary",
                "FAKE_SCRIPT": "lit:print('Bearer', os.environ['TOKEN'], flush=True); sys.exit(3)",
            },
            "tasks": [{"name": "fake.alpha", "container": image}],
        },
    }
    run = stack.start("local", config)
    assert run.until() == "Failed"
    (result,) = json.loads((run.folder / "results.json").read_text())["benchmarks"]
    assert "Bearer <TOKEN>" in result["message"]
    (log,) = run.folder.glob("alpha.0/harness.log")
    assert CANARY in log.read_text(), "the harness's own words, on this machine"
    assert holding(CANARY, stack.home, tmp_path) == [log]


class Slow(Handler):
    """Knows what it was asked, and keeps the fifth question waiting until it may go on."""

    asked: ClassVar[Counter[str]] = Counter()
    may_go_on = threading.Event()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if len(self.asked) >= 4:
            self.may_go_on.wait(PATIENCE)
        self.asked[body] += 1
        self.answer(
            {
                **{"id": "x", "object": "chat.completion", "created": 1, "model": "fake-model"},
                "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "4"}}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        )


@pytest.fixture
def slow() -> Iterator[str]:
    """The URL of an endpoint that counts what it is asked."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
    server.shutdown()


def container_of(run: Run) -> Any:
    """The container of an evaluation's benchmark that runs now."""
    found = engine().containers.list(filters={"label": f"proctor.evaluation={run.id}"})
    return next((each for each in found if "mmath" in str(each.name)), None)


def test_a_lost_benchmark_of_a_real_harness_asks_nothing_twice(stack: Stack, tmp_path: Path, slow: str) -> None:
    image = require_image("proctor-test/eval:1")
    config = {
        "execution": {"type": "local", "output_dir": str(tmp_path), "poll_interval": 0.5},
        "target": {"api_endpoint": {"url": slow, "model_id": "fake-model"}},
        "evaluation": {
            "trust_unlisted": True,
            "env_vars": {"OPENAI_API_KEY": "lit:unused"},
            "nemo_evaluator_config": {
                "config": {
                    "params": {"limit_samples": 12, "parallelism": 1, "max_new_tokens": 8, "extra": {"n_samples": 1}}
                }
            },
            "tasks": [{"name": "mmath_en", "container": image}],
        },
    }
    run = stack.start("local", config)
    wait_for(lambda: len(Slow.asked) >= 4 or run.state in {"Failed", "Completed"})
    assert run.state == "Running", run.message
    before = set(Slow.asked)
    wait_for(lambda: container_of(run)).kill()
    Slow.may_go_on.set()
    assert run.until() == "Completed", run.message
    (result,) = json.loads((run.folder / "results.json").read_text())["benchmarks"]
    assert result["attempts"] == 2
    again = [body for body in before if Slow.asked[body] > 1]
    assert len(again) <= 1, "only the request that was under way when the container died"
    assert len(Slow.asked) > len(before), "it died in the middle"
    cached = yaml.safe_load((run.folder / "mmath_en.0" / "run_config.yml").read_text())
    assert "caching" in str(cached["target"]["api_endpoint"]["adapter_config"])
