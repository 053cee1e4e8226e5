"""An evaluation on the cloud from the command line, with the login of the shell that starts it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cli.machine import Machine
from tests.engine import fake_harness_image
from tests.lepton.service import Service
from tests.waiting import wait_for

pytestmark = pytest.mark.live


@pytest.fixture
def cloud() -> Iterator[Service]:
    """A service that really runs containers."""
    with Service(runner="docker", deletion=0.05) as service:
        yield service


def config(machine: Machine, service: Service, endpoint: str, script: str) -> str:
    """One benchmark of the fake harness."""
    place = {"workspace": service.workspace, "workspace_url": service.url, "poll_interval": 0.5}
    task = {"name": "fake.alpha", "container": fake_harness_image()}
    content = {
        "execution": {"type": "lepton", "output_dir": str(machine.work / "results"), **place},
        "target": {"api_endpoint": {"url": endpoint, "model_id": "fake-model"}},
        "evaluation": {"trust_unlisted": True, "env_vars": {"FAKE_SCRIPT": f"lit:{script}"}, "tasks": [task]},
    }
    path = Path(machine.work / "lepton.yaml")
    path.write_text(yaml.safe_dump(content))
    return str(path)


def test_an_expired_token_is_replaced_while_the_evaluation_runs(
    machine: Machine, cloud: Service, endpoint: str
) -> None:
    file = config(machine, cloud, endpoint, "time.sleep(8)")
    started = machine.run("run", "--config", file, "--detach", LEPTON_API_TOKEN=cloud.token)
    assert started.returncode == 0, started.stderr
    evaluation = started.stdout.strip()
    wait_for(lambda: [each for each in cloud.jobs if each["status"]["state"] == "Running"])
    cloud.token = "a-fresh-token-4711"
    wait_for(lambda: cloud.requests[-1].status == 401)
    resumed = machine.run("resume", evaluation, LEPTON_API_TOKEN=cloud.token)
    assert resumed.returncode == 0, resumed.stderr
    assert "from now on it logs in with what this shell has" in resumed.stdout
    wait_for(lambda: machine.json("status", evaluation)["state"] == "COMPLETED", pause=1)
    assert len([each for each in cloud.requests if (each.method, each.path) == ("POST", "/jobs")]) == 1
    assert (cloud.jobs, cloud.secrets) == ([], {})
