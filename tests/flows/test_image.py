"""The image of `Dockerfile`: built here, and its worker beside a server that runs elsewhere."""

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.machine import PROCTOR
from tests.engine import require_image
from tests.flows.stack import Stack
from tests.waiting import wait_for

pytestmark = pytest.mark.live
ROOT = Path(__file__).parents[2]
IMAGE, BASE = "proctor-test/worker:1", "proctor-test/python:1"
BASED = """FROM proctor-test/base:1
COPY authorities.pem /etc/authorities.pem
ENV PIP_CERT=/etc/authorities.pem SSL_CERT_FILE=/etc/authorities.pem
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*
"""
"""Stands for python:3-slim, which no registry gives us here: Debian with a Python that has venv, and what this host trusts."""


def docker(*arguments: str) -> str:
    """What the Docker command line says."""
    command = ["env", "DOCKER_BUILDKIT=0", "docker", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout.strip()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Proctor's image, on a base of ours; the layers stay, so that it is built again quickly."""
    require_image("proctor-test/base:1")
    folder = tmp_path_factory.mktemp("base")
    (folder / "Dockerfile").write_text(BASED)
    (folder / "authorities.pem").write_bytes(Path(ssl.get_default_verify_paths().cafile or "").read_bytes())
    docker("build", "-q", "--network", "host", "-t", BASE, str(folder))
    docker("build", "-q", "--network", "host", "--build-arg", f"BASE={BASE}", "-t", IMAGE, str(ROOT))
    yield IMAGE
    docker("rmi", "--no-prune", IMAGE)


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Stack]:
    """A team's server of its own, set up and without a worker: whatever else waits for one would be taken by the container."""
    stack = Stack(tmp_path / "server")
    stack.home.mkdir()
    try:
        stack.start_server()
        subprocess.run([PROCTOR, "up"], env=stack.env, cwd=stack.home, check=True)
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def worker(image: str, team: Stack) -> Iterator[str]:
    """The image's own command, as docs/operations.md starts it."""
    settings = ["--init", "--network", "host", "--hostname", "eval-1", "-e", f"PREFECT_API_URL={team.api}"]
    container = docker("run", "-d", *settings, image)
    yield container
    docker("rm", "-f", container)


def test_the_image_has_the_command_line(image: str) -> None:
    assert "evaluation" in docker("run", "--rm", image, "proctor", "--help")
    assert docker("run", "--rm", image, "id", "-un") == "proctor"
    assert "mmath:" in docker("run", "--rm", image, "proctor", "ls", "tasks", "mmath_en")


def test_its_worker_runs_evaluations_of_a_server_elsewhere(worker: str, team: Stack) -> None:
    config = {
        "execution": {"type": "simulated", "output_dir": "/tmp/results", "step_seconds": 0.5},
        "target": {"api_endpoint": {"url": "http://127.0.0.1:9/v1/chat/completions", "model_id": "tiny"}},
        "evaluation": {"tasks": [{"name": "mmath_en"}]},
    }
    run = team.start("simulated", config)
    assert run.until() == "Completed", docker("logs", worker)
    assert str(run.labels["proctor.engine"]).startswith("eval-1 ")
    assert "results.json" in docker("exec", worker, "ls", str(run.folder))
    workers = wait_for(lambda: team.filter("/work_pools/proctor/workers/filter"))
    assert "eval-1" in " ".join(each["name"] for each in workers)
