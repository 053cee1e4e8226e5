"""`scripts/lepton-smoke`, against the stand-in: what it asks of a real workspace, the stand-in must answer as well."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.engine import require_image
from tests.flows.stack import free_port
from tests.lepton.service import Service
from tests.waiting import wait_for

pytestmark = pytest.mark.live
SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "lepton-smoke"


def smoke(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    login = {"LEPTON_WORKSPACE_ID": service.workspace, "LEPTON_WORKSPACE_URL": service.url}
    env = {**os.environ, **login, "LEPTON_API_TOKEN": service.token}
    image, port = require_image("proctor-test/base:1"), str(free_port())
    quick = ["--image", image, "--port", port, "--pause", "0.2", "--patience", "60", "--node-group", "cpu-pool"]
    return subprocess.run(
        [str(SCRIPT), *quick, *arguments], env=env, capture_output=True, text=True, check=False, timeout=200
    )


@pytest.mark.parametrize("family", ["legacy", "new"])
def test_everything_is_as_expected_and_nothing_is_left(family: str) -> None:
    with Service("legacy" if family == "legacy" else "new", runner="docker") as service:
        done = smoke(service)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines()[-1] == "everything is as expected"
        wait_for(
            lambda: (service.live(), service.secrets) == ([], {}), 20
        )  # a removal that was asked for takes a moment


def test_a_difference_is_told() -> None:
    with Service(runner="docker") as service:
        done = smoke(service, "--shape", "tpu")
        assert done.returncode == 1
        assert "DIFFERS  shapes for job are listed and hold yours" in done.stdout
        assert "of Proctor's assumptions differ" in done.stdout
