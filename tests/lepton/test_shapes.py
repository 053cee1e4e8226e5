"""`proctor ls shapes --backend lepton`, against the stand-in."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lepton.service import Service

pytestmark = pytest.mark.slow

PROCTOR = str(Path(sys.executable).parent / "proctor")


def run(service: Service, *arguments: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
    login = {"LEPTON_WORKSPACE_ID": service.workspace, "LEPTON_WORKSPACE_URL": service.url}
    env = {**os.environ, **login, "LEPTON_API_TOKEN": token or service.token}
    command = [PROCTOR, "ls", "shapes", "--backend", "lepton", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


def test_every_shape_with_its_group_and_purposes(legacy: Service) -> None:
    done = run(legacy)
    assert done.returncode == 0, done.stderr
    rows = {tuple(line.split()[:2]): line for line in done.stdout.splitlines()[1:]}
    assert "benchmarks, servers" in rows["gpu.1xh200", "h200-pool"] and "1 x H200" in rows["gpu.1xh200", "h200-pool"]
    assert "servers" not in rows["cpu.batch", "cpu-pool"]
    assert {("cpu.small", "cpu-pool"), ("cpu.small", "h200-pool")} <= rows.keys()


def test_of_one_group_as_json(legacy: Service) -> None:
    found = json.loads(run(legacy, "--node-group", "h200-pool", "--json").stdout)
    assert {each["shape"] for each in found} == {"cpu.small", "gpu.1xh200", "gpu.8xh200"}


def test_a_group_without_a_name_is_called_by_its_id(legacy: Service) -> None:
    group = legacy.stock.groups["h200-pool-mjgbgffo"]
    legacy.stock.groups[group.id] = replace(group, name=group.id)
    assert "h200-pool-mjgbgffo" in {each["node_group"] for each in json.loads(run(legacy, "--json").stdout)}


def test_a_workspace_without_groups_has_its_shapes(legacy: Service) -> None:
    legacy.stock.groups = {}
    legacy.stock.shapes = [replace(each, groups=()) for each in legacy.stock.shapes]
    found = json.loads(run(legacy, "--json").stdout)
    assert {(each["shape"], each["node_group"]) for each in found} >= {("cpu.small", "-"), ("gpu.1xh200", "-")}


@pytest.mark.parametrize(
    ("arguments", "token", "code", "words"),
    [
        (["--node-group", "h200-pol"], None, 2, "did you mean 'h200-pool'?"),
        (["--config", "nowhere.yaml"], None, 2, "nowhere.yaml"),
        ([], "expired", 1, "Lepton refuses the token (401)"),
    ],
)
def test_what_goes_wrong_is_one_sentence(
    legacy: Service, arguments: list[str], token: str | None, code: int, words: str
) -> None:
    done = run(legacy, *arguments, token=token)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr and "Traceback" not in done.stderr
