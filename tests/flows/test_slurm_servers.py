"""Whole evaluations on the real cluster that deploy their model: over several jobs, on one node, with one port in the config."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.flows.stack import Stack
from tests.flows.test_slurm_flow import PROCTOR, STEPS, config, package, remote_folder, submitted

__all__ = ["package"]
pytestmark = pytest.mark.live

SERVE = "sh -c 'exec fake-server \"$2\" 1' serve --port 8123"


@pytest.mark.parametrize("setting", ["split", "server_per_benchmark"])
def test_each_job_has_a_server_of_its_own(
    stack: Stack, tmp_path: Path, shared: Path, package: str, setting: str
) -> None:
    value = {"split": 2, "server_per_benchmark": True}[setting]
    pinned = {"nodelist": "n2"}
    settings = config(tmp_path, shared, package, "", "time.sleep(3)", sbatch_extra_flags=pinned, **{setting: value})
    settings["target"] = {"api_endpoint": {"model_id": "fake-model"}}
    settings["deployment"] = {"type": "generic", "command": SERVE, "port": 8123, "packages": [package]}
    run = stack.start("slurm", settings)
    assert run.until(seconds=300) == "Completed", run.message
    assert len(submitted(run)) == 2
    folder = remote_folder(shared, run)
    for step, server in zip(STEPS.values(), ("server", "server.1"), strict=True):
        assert (run.folder / step / "results.yml").exists()
        assert json.loads((folder / step / "server-models.json").read_text())["data"][0]["id"] == "fake-model"
        assert "GET /v1/models" in (folder / server / "harness.log").read_text(), "each benchmark asked its own"
    subprocess.run(["rm", "-rf", folder], check=True)
    said = subprocess.run(
        [PROCTOR, "logs", run.id, "--server"], env=stack.env, capture_output=True, text=True, check=True
    )
    assert said.stdout.count("fake server is up") == 2, "what they wrote came home"
    assert "==> server.1 <==" in said.stdout
