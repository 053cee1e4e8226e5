"""What a server is set up with, and that it can be run from anywhere."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from proctor.cli.stack import settings
from tests.flows.stack import PREFECT, SET_UP, Stack

ROOT = Path(__file__).parent.parent.parent

LOAD = """
import json, sys
from prefect.flows import load_flow_from_entrypoint
from proctor.flows.deployments import deployments
print(json.dumps([load_flow_from_entrypoint(each["entrypoint"], use_placeholder_flow=False).name for each in deployments()]))
"""


@pytest.mark.slow
def test_every_entrypoint_loads_beside_a_user_s_own_flows(tmp_path: Path) -> None:
    for package in ("flows", "tasks", "blocks"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('this is the user\\'s own package')\n")
    done = subprocess.run([sys.executable, "-c", LOAD], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [*["evaluate"] * 7, "reconcile", "reap"]


def test_the_checkout_deploys_what_the_package_ships() -> None:
    for name in ("prefect.yaml", "prefect.toml"):
        assert (ROOT / name).resolve() == ROOT / "flows" / name
    names = [each["name"] for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]]
    assert names == ["local", "process", "slurm", "lepton", "simulated", "custom", "nightly", "machine", "machine"]


@pytest.mark.slow
def test_every_setting_of_the_checkout_s_prefect_toml_counts() -> None:
    own = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT")}
    command = [PREFECT, "config", "view"]
    done = subprocess.run(command, cwd=ROOT, env={**own, "COLUMNS": "200"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts = {line.partition("=")[0] for line in done.stdout.splitlines() if "from prefect.toml" in line}
    assert counts == set(settings())


def test_the_page_shows_a_copy_with_the_same_settings() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    (block,) = re.findall(r"```yaml\n(pull:.*?deployments:.*?)```", page, re.DOTALL)
    shown, ours = yaml.safe_load(block), yaml.safe_load((ROOT / "prefect.yaml").read_text())
    (copy,) = shown["deployments"]
    (shipped,) = [each for each in ours["deployments"] if each["name"] == "nightly"]
    assert shown["pull"] == ours["pull"] == []
    assert copy["work_pool"] == shipped["work_pool"]
    assert copy["tags"] == shipped["tags"]


@pytest.mark.live
def test_setting_up_twice_changes_nothing(stack: Stack) -> None:
    def found() -> list[tuple[str, str]]:
        automations = [(each["id"], each["name"]) for each in stack.filter("/automations/filter")]
        deployments = [(each["id"], each["name"]) for each in stack.filter("/deployments/filter")]
        return sorted([*automations, *deployments])

    before = found()
    subprocess.run([sys.executable, "-c", SET_UP], env=stack.env, check=True)
    assert found() == before
    assert {name for _, name in before} == {
        "local", "process", "slurm", "lepton", "simulated", "custom", "nightly", "machine", "proctor-crash-zombies", "proctor-settle-then-reattach",
    }  # fmt: skip


@pytest.mark.live
def test_prefect_deploy_all_works_from_the_checkout(stack: Stack) -> None:
    command = [PREFECT, "--no-prompt", "deploy", "--all"]
    try:
        done = subprocess.run(command, cwd=ROOT, env=stack.env, capture_output=True, text=True, check=False)
        local = stack.get("/deployments/name/evaluate/local")
    finally:
        stack.set_up()  # the other tests of this stack run its own deployments again
    assert done.returncode == 0, done.stdout + done.stderr
    assert local["entrypoint"] == "proctor.flows.evaluate.evaluate"
    assert local["enforce_parameter_schema"]
    assert not local["pull_steps"], "a worker elsewhere has no folder of this name"
    config = local["parameter_openapi_schema"]["definitions"]["EvaluationConfig"]
    assert config["properties"]["evaluation"]["description"] == "The benchmarks."
