"""A Prefect server of a team that asks for a password: worker, command line and `prefect` itself, a whole evaluation."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.cli.machine import PROCTOR
from tests.flows.stack import PREFECT, Stack
from tests.flows.test_evaluate import config
from tests.waiting import wait_for

pytestmark = pytest.mark.live

PASSWORD = "team:canary-5f20c7"


@dataclass
class Guarded(Stack):
    """A server that asks for a password, and those who know it."""

    auth: tuple[str, str] | None = ("team", PASSWORD.partition(":")[2])
    secret: dict[str, str] = field(
        default_factory=lambda: {"PREFECT_SERVER_API_AUTH_STRING": PASSWORD, "PREFECT_API_AUTH_STRING": PASSWORD}
    )

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, **self.secret, "COLUMNS": "200"}

    def start_worker(self, *before: str) -> None:
        """The command of a team's worker."""
        self.worker = self._start([*before, PROCTOR, "worker", "--limit", "2"], "worker.log")

    def say(self, *command: str) -> subprocess.CompletedProcess[str]:
        """What a person's command says."""
        return subprocess.run(command, env=self.env, cwd=self.home, text=True, capture_output=True, check=False)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    stack = Guarded(tmp_path_factory.mktemp("guarded"))
    try:
        stack.start_server()
        up = stack.say(PROCTOR, "up")
        assert up.returncode == 0, up.stderr
        assert "no worker is online" in up.stdout
        assert up.stdout.rstrip().endswith("proctor worker")
        stack.start_worker()
        wait_for(lambda: "no worker is online" not in stack.say(PROCTOR, "up").stdout, pause=1)
        yield stack
    finally:
        stack.stop()


def test_an_evaluation_runs_through_with_a_password(guarded: Guarded, tmp_path: Path) -> None:
    stranger = httpx.post(f"{guarded.api}/flow_runs/filter", json={}, timeout=60)
    assert stranger.status_code == 401
    path = tmp_path / "one.yaml"
    path.write_text(json.dumps(config(tmp_path / "results", "mmath_en")))
    done = guarded.say(PROCTOR, "run", "--config", str(path), "--wait")
    assert done.returncode == 0, done.stderr
    assert "mmath_en.accuracy" in done.stdout
    (run,) = json.loads(guarded.say(PROCTOR, "ls", "runs", "--json").stdout)
    assert run["state"] == "COMPLETED"
    status = json.loads(guarded.say(PROCTOR, "status", run["id"], "--json").stdout)
    assert [row["state"] for row in status["progress"]] == ["COMPLETED"]
    assert guarded.say(PROCTOR, "reconcile").returncode == 0
    left = [
        each for each in (tmp_path / "results").rglob("*") if each.is_file() and PASSWORD in each.read_text("latin1")
    ]
    assert not left


@pytest.mark.parametrize("command", ["ls runs", "up", "worker", "reconcile", "reap --dry-run"])
def test_without_the_password_it_is_said_what_is_missing(guarded: Guarded, command: str) -> None:
    own = {key: value for key, value in guarded.env.items() if key not in guarded.secret}
    done = subprocess.run(
        [PROCTOR, *command.split()], env=own, text=True, capture_output=True, check=False, timeout=240
    )
    assert done.returncode == 1
    assert "wants credentials: set PREFECT_API_KEY or PREFECT_API_AUTH_STRING" in done.stderr.splitlines()[-1]


def test_prefect_deployment_run_does_the_same(guarded: Guarded, tmp_path: Path) -> None:
    content = config(tmp_path / "results", "mmath_en", "mmath_zh")
    del content["execution"]
    asked = ("-p", f"config={json.dumps(content)}", "--watch")
    done = guarded.say(PREFECT, "deployment", "run", "evaluate/simulated", *asked)
    assert done.returncode == 0, done.stdout + done.stderr
    newest = json.loads(guarded.say(PROCTOR, "ls", "runs", "--json").stdout)[0]
    assert (newest["state"], newest["backend"]) == ("COMPLETED", "simulated"), (
        "the deployment's name says where it runs"
    )
    wrong = guarded.say(
        PREFECT, "deployment", "run", "evaluate/slurm", *asked[:1], f"config={json.dumps(LOCAL)}", "--watch"
    )
    assert wrong.returncode == 1
    refused = json.loads(guarded.say(PROCTOR, "ls", "runs", "--json").stdout)[0]
    assert (refused["state"], "this is the deployment for slurm" in refused["message"]) == ("FAILED", True)


LOCAL = {"execution": {"type": "local"}, "evaluation": {"tasks": [{"name": "mmath_en"}]}}
