"""A team's server as docs/operations.md describes it: PostgreSQL, `prefect server start`, a password, `proctor worker`."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.postgres import postgres
from proctor.configs.host_env import user
from tests.cli.machine import PROCTOR
from tests.conftest import unavailable
from tests.flows.stack import PREFECT, Run
from tests.flows.test_authentication import Guarded
from tests.flows.test_evaluate import config
from tests.flows.test_outages import refusing, whole
from tests.waiting import wait_for

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]


@dataclass
class Team(Guarded):
    """Prefect's own server, where `prefect.toml` is, on PostgreSQL."""

    database: str = ""

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, "PREFECT_SERVER_DATABASE_CONNECTION_URL": self.database}

    def start_server(self) -> None:
        shutil.copy(ROOT / "prefect.toml", self.home)
        command = [PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        self.server = self._start(command, "server.log")
        wait_for(self.healthy)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    if os.geteuid() != 0:
        unavailable("only root can start a PostgreSQL of its own")
    with postgres() as database:
        team = Team(tmp_path_factory.mktemp("team"), database=database)
        try:
            team.start_server()
            up = team.say(PROCTOR, "up")
            assert up.returncode == 0, up.stderr
            team.start_worker()
            yield team
        finally:
            team.stop()


def begun(team: Team, folder: Path, seconds: float) -> Run:
    """An evaluation that somebody started by `proctor run` and whose benchmarks run."""
    path = folder / "config.yaml"
    path.write_text(json.dumps(config(folder, "mmath_en", "mmath_zh", step_seconds=seconds, max_parallel=2)))
    done = team.say(PROCTOR, "run", "--config", str(path), "--detach")
    assert done.returncode == 0, done.stderr
    found = json.loads(team.say(PROCTOR, "info", done.stdout.strip(), "--json").stdout)
    run = Run(team, found["flow_run_id"])
    wait_for(lambda: list(run.states().values()) == ["Running"] * 2)
    return run


def test_an_evaluation_says_who_started_it_and_comes_back_when_its_engine_dies(team: Team, tmp_path: Path) -> None:
    run = begun(team, tmp_path, 25)
    assert run.labels["proctor.user"] == user()
    engine = run.engine
    assert engine
    os.kill(engine, signal.SIGKILL)
    assert run.until() == "Completed", run.message
    assert run.engine != engine
    assert (run.record["run_count"], run.states()) == (2, {"mmath_en": "Completed", "mmath_zh": "Completed"})
    assert len(run.artifact("results")["benchmarks"]) == 2
    kept = [each for each in (team.home / "proctor").rglob("*") if each.is_file()]
    assert not kept, "nothing of ours is stored outside of Prefect and the output folder"


def test_nothing_is_lost_while_it_is_started_again(team: Team, tmp_path: Path) -> None:
    run = begun(team, tmp_path, 25)
    with refusing(team, 20):
        pass
    whole(run, tmp_path, "local", seconds=60)


def test_the_units_of_the_page_are_sound(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        unavailable("there is no systemd here; `scripts/services` installs it")
    page = (ROOT / "docs" / "operations.md").read_text()
    files = []
    for name, unit in re.findall(r"```ini\n# /etc/systemd/system/(\S+)\n(.*?)```", page, re.DOTALL):
        files.append(tmp_path / name)
        here = re.sub(r"/srv/proctor/.venv/bin/(\w+)", lambda found: str(Path(PROCTOR).with_name(found[1])), unit)
        files[-1].write_text(re.sub(r"^User=.*$", "User=root", here, flags=re.MULTILINE))
    assert len(files) == 2
    done = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
