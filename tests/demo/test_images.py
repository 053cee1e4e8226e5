"""The images of the live tests and what runs in them: the real harness command against the real model."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from tests.conftest import unavailable

pytestmark = pytest.mark.live
PORT = 8000
IMAGES = ("proctor-test/base:1", "proctor-test/eval:1", "proctor-test/model:1")


def docker(*arguments: str, timeout: float = 120) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module", autouse=True)
def images() -> None:
    try:
        missing = [image for image in IMAGES if not docker("image", "ls", "-q", image)]
    except (AssertionError, OSError) as error:
        unavailable(f"no Docker engine answers: {error}")
    if missing:
        unavailable(f"the image {missing[0]} is not built; run scripts/services")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The model, alone on a network without a way out."""
    name = f"proctor-test-{uuid4().hex[:8]}"
    command = ("python3", "/opt/model/serve.py", "--port", str(PORT), "--model-name", "tiny")
    docker("run", "-d", "--rm", "--name", name, "--network", "none", "proctor-test/model:1", *command)
    yield name
    started = time.monotonic()
    docker("stop", "-t", "20", name)
    assert time.monotonic() - started < 15, "the server does not obey TERM"


def config(kind: str, folder: Path, **params: object) -> None:
    endpoint = {"url": f"http://127.0.0.1:{PORT}/v1/chat/completions", "model_id": "tiny", "type": "chat"}
    run = {"config": {"type": kind, "output_dir": "/results", "params": params}, "target": {"api_endpoint": endpoint}}
    (folder / "run.yaml").write_text(yaml.safe_dump(run))


def harness(folder: Path, *options: str) -> list[str]:
    own = ("--user", f"{os.getuid()}:{os.getgid()}", "-v", f"{folder}:/results")
    command = ("nemo-evaluator", "run_eval", "--run_config", "/results/run.yaml")
    return ["run", *options, *own, "proctor-test/eval:1", *command]


def wait_until_healthy(server: str) -> None:
    ask = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{PORT}/health', timeout=5)"
    for _ in range(100):
        if (
            subprocess.run(
                ["docker", "exec", server, "python3", "-c", ask], capture_output=True, check=False
            ).returncode
            == 0
        ):
            return
        time.sleep(0.2)
    pytest.fail("the model server does not answer")


def test_the_model_is_scored_by_the_real_harness_command(server: str, tmp_path: Path) -> None:
    wait_until_healthy(server)
    config("primer_facts", tmp_path, limit_samples=6, parallelism=2)
    docker(*harness(tmp_path, "--rm", "--network", f"container:{server}"), timeout=300)
    results = yaml.safe_load((tmp_path / "results.yml").read_text())
    score = results["results"]["tasks"]["primer_facts"]["metrics"]["accuracy"]["scores"]["accuracy"]
    assert score["stats"]["count"] == 6
    assert 0 < score["value"] <= 1
    lines = (tmp_path / "nemo-evaluator-per-sample-outputs" / "primer_facts.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["score"] for line in lines) / 6 == pytest.approx(score["value"])
    assert (tmp_path / "results.yml").stat().st_uid == os.getuid()


def test_a_benchmark_that_fails_says_so(tmp_path: Path) -> None:
    config("primer_noop", tmp_path, extra={"fail": 3})
    done = subprocess.run(["docker", *harness(tmp_path, "--rm")], capture_output=True, timeout=120, check=False)
    assert done.returncode == 1
    assert not (tmp_path / "results.yml").exists()


def test_nvidias_harness_is_listed_beside_ours() -> None:
    listed = docker("run", "--rm", "--network", "none", "proctor-test/eval:1", "nemo-evaluator", "ls")
    assert {"mmath:", "primer:"} <= {line.strip() for line in listed.splitlines()}
    assert "* primer_noop" in listed
