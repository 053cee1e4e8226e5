"""Whole evaluations on the real cluster that deploy their model: over several jobs, on one node, with one port in the config."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.cluster import as_user
from tests.flows.stack import Stack, free_port
from tests.flows.test_slurm_flow import PROCTOR, STEPS, config, package, remote_folder, served, starts, submitted
from tests.flows.test_slurm_losses import away, job_ids, node_of, result, row
from tests.waiting import wait_for

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


def test_a_server_without_enough_memory_is_told_and_not_started_again(
    stack: Stack, tmp_path: Path, shared: Path, package: str
) -> None:
    hog = 'python3 -c "held = [bytearray(50_000_000) for _ in range(40)]"'
    settings = config(
        tmp_path,
        shared,
        package,
        "",
        "'alpha' in str(out) or ((out.parent / 'asks').touch(), time.sleep(300))",
        memory="400M",
    )
    settings["target"], settings["deployment"] = {}, served(package, port := free_port())
    settings["deployment"]["command"] = (
        f"""sh -c 'fake-server {port} & until [ -e {shared}/*/asks ]; do sleep 0.2; done; {hog}; kill $!; exit 1'"""
    )
    run = stack.start("slurm", settings)
    assert run.until() == "Failed", run.message
    assert run.states() == {"alpha": "Completed", "beta": "Failed"}
    told = "server died: out of memory: the kernel killed the server; ask for more with execution.memory"
    assert result(run)["beta"]["message"].startswith(told)
    assert told in str(run.benchmarks()), "the state of its run says so too"
    assert "out of memory" in row(run, "server")["message"]
    assert starts(remote_folder(shared, run)) == {"alpha": 1, "beta": 1}
    assert len(submitted(run)) == 1


@pytest.mark.usefixtures("alone")
def test_a_server_that_lost_one_of_its_nodes_starts_again_on_others_with_what_was_not_done(
    stack: Stack, tmp_path: Path, shared: Path, package: str
) -> None:
    script = "'alpha' in str(out) or (out / 'again').exists() or ((out / 'again').write_text(''), time.sleep(300))"
    elsewhere = {"nodes": 2, "sbatch_extra_flags": {"exclude": "n1"}}
    settings = config(tmp_path, shared, package, "", script, **elsewhere)
    settings["target"], settings["deployment"] = {}, served(package, port := free_port())
    settings["deployment"]["command"] = f"""sh -c '[ "$SLURM_PROCID" -gt 0 ] || exec fake-server {port}; sleep 900'"""
    run = stack.start("slurm", settings)
    wait_for(lambda: starts(remote_folder(shared, run))["beta"] == 1)
    (first,) = job_ids(run)
    last = as_user("scontrol", "show", "hostnames", node_of(first)).split()[-1]
    with away(f"slurmd.{last}"):
        wait_for(lambda: len(submitted(run)) == 2)
        assert run.until() == "Completed", run.message
    assert starts(remote_folder(shared, run)) == {"alpha": 1, "beta": 2}
    assert result(run)["beta"]["attempts"] == 2
    log = remote_folder(shared, run) / "server" / "harness.log"
    assert log.read_text().count("fake server is up") == 2
