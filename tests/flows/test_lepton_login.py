"""`proctor run` on Lepton with the login of its shell alone; the worker and the hooks know no other."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cli.machine import PROCTOR
from tests.engine import fake_harness_image
from tests.flows.stack import Stack, free_port
from tests.lepton.service import Service
from tests.waiting import wait_for

pytestmark = pytest.mark.live

TOKENS = ("LEPTON_API_TOKEN", "LEPTON_WORKSPACE_TOKEN")


@pytest.fixture
def cloud() -> Iterator[Service]:
    """A service that really runs containers."""
    with Service(runner="docker", deletion=0.05) as service:
        yield service


def proctor(stack: Stack, work: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What a user's shell says to a command, where only `variables` know the login."""
    env = {key: value for key, value in stack.env.items() if not key.startswith("LEPTON")} | variables
    return subprocess.run(
        [PROCTOR, *arguments], env=env, cwd=work, capture_output=True, text=True, check=False, timeout=240
    )


def config(work: Path, service: Service, script: str) -> str:
    """One benchmark against a model server of its own; results come home through the log."""
    port = free_port()
    own = {"port": port, "command": f"fake-server {port}", "served_model_name": "fake-model"}
    path = work / "lepton.yaml"
    content = {
        "execution": {
            "type": "lepton",
            "workspace": service.workspace,
            "workspace_url": service.url,
            "resource_shape": "cpu.small",
            "endpoint_resource_shape": "gpu.1xh200",
            "output_dir": "./cloud_results",
            "poll_interval": 0.5,
        },
        "deployment": {"type": "generic", "image": fake_harness_image(), **own},
        "evaluation": {
            "trust_unlisted": True,
            "env_vars": {"FAKE_SCRIPT": f"lit:{script}"},
            "tasks": [{"name": "fake.alpha", "container": fake_harness_image()}],
        },
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


def handed(stack: Stack) -> list[Path]:
    """Where the values lie that were handed over."""
    return list((stack.home / "proctor" / "env").glob("*"))


def nothing_left(service: Service, stack: Stack) -> bool:
    """Neither on Lepton, nor of the login here."""
    return (service.live(), service.endpoints, service.jobs, service.secrets, handed(stack)) == ([], [], [], {}, [])


def test_the_login_of_the_shell_is_enough_for_a_whole_evaluation(stack: Stack, cloud: Service, tmp_path: Path) -> None:
    path = config(tmp_path, cloud, "pass")
    done = proctor(stack, tmp_path, "run", "--config", path, LEPTON_API_TOKEN=cloud.token)
    assert done.returncode == 0, done.stderr
    (results,) = (tmp_path / "cloud_results").glob("*/results.json")
    assert results.stat().st_size
    assert nothing_left(cloud, stack)
    files = [path for root in (stack.home, tmp_path) for path in root.rglob("*") if path.is_file()]
    assert not [path for path in files if cloud.token.encode() in path.read_bytes()]


def begun(stack: Stack, cloud: Service, work: Path, variable: str) -> str:
    """The id of an evaluation whose benchmark runs beside its endpoint."""
    path = config(work, cloud, "time.sleep(300)")
    done = proctor(stack, work, "run", "--config", path, "--detach", **{variable: cloud.token})
    assert done.returncode == 0, done.stderr
    wait_for(lambda: [each for each in cloud.jobs if each["status"]["state"] == "Running"])
    assert len(cloud.endpoints) == 1
    return done.stdout.strip()


@pytest.mark.parametrize("variable", TOKENS)
def test_who_kills_an_evaluation_needs_no_login(stack: Stack, cloud: Service, tmp_path: Path, variable: str) -> None:
    evaluation = begun(stack, cloud, tmp_path, variable)
    killed = proctor(stack, tmp_path, "kill", evaluation)
    assert killed.returncode == 0, killed.stderr
    assert "its jobs are released" in killed.stdout
    wait_for(lambda: nothing_left(cloud, stack), 30)


def test_a_release_that_cannot_be_done_is_not_called_done(stack: Stack, cloud: Service, tmp_path: Path) -> None:
    evaluation = begun(stack, cloud, tmp_path, TOKENS[0])
    cloud.fault("DELETE", "*", status=403, times=None)
    killed = proctor(stack, tmp_path, "kill", evaluation)
    assert killed.returncode != 0, killed.stdout
    assert "jobs are released" not in killed.stdout
    assert len(handed(stack)) == 1, "or nobody could try again"
    cloud.faults.clear()
    wait_for(lambda: nothing_left(cloud, stack))
