"""Whole evaluations on a cluster without accounting that forgets ended jobs at once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bare_cluster import BareCluster
from tests.cluster import ssh_config
from tests.flows.stack import Run, Stack
from tests.flows.test_slurm_flow import config, package, remote_folder, starts
from tests.waiting import wait_for
from tests.wan_proxy import WanProxy

__all__ = ["package"]
pytestmark = pytest.mark.live


@pytest.fixture
def proxy(bare: BareCluster) -> Iterator[WanProxy]:
    with WanProxy(bare.port) as proxy:
        yield proxy


def result(run: Run) -> dict[str, dict[str, Any]]:
    found = json.loads((run.folder / "results.json").read_text())["benchmarks"]
    return {each["step"].partition(".")[0]: each for each in found}


def jobs(folder: Path) -> list[str]:
    """What was submitted, by its folders."""
    return sorted(path.name for path in (folder / ".proctor").glob("proctor-*"))


def test_an_evaluation_is_scored_without_accounting(
    stack: Stack, tmp_path: Path, shared: Path, package: str, endpoint: str, bare: BareCluster
) -> None:
    run = stack.start("slurm", config(tmp_path, shared, package, endpoint, "time.sleep(2)", **bare.changes()))
    assert run.until() == "Completed", run.message
    assert [each["scores"][0]["value"] for each in result(run).values()] == [0.5, 0.5]
    assert starts(remote_folder(shared, run)) == {"alpha": 1, "beta": 1}
    assert len(jobs(remote_folder(shared, run))) == 1


@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", ["by itself", "scancel", "walltime"])
def test_a_job_that_ended_and_was_forgotten_unseen(
    stack: Stack,
    tmp_path: Path,
    shared: Path,
    package: str,
    endpoint: str,
    *,
    bare: BareCluster,
    proxy: WanProxy,
    how: str,
) -> None:
    slow = "'beta' in str(out) or (out / 'again').exists() or ((out / 'again').write_text(''), time.sleep({}))"
    seconds, limit, ends, runs = {
        "by itself": (8, 600, "Completed", {"alpha": 1, "beta": 1}),
        "scancel": (300, 600, "Failed", {"alpha": 1, "beta": 0}),
        "walltime": (300, 120, "Completed", {"alpha": 2, "beta": 1}),
    }[how]
    there = {**bare.changes(), "ssh_config": ssh_config(tmp_path, proxy.port), "walltime": limit}
    run = stack.start("slurm", config(tmp_path, shared, package, endpoint, slow.format(seconds), **there))
    wait_for(lambda: starts(remote_folder(shared, run))["alpha"] == 1)
    folder = remote_folder(shared, run)
    (first,) = jobs(folder)
    job_id = (folder / ".proctor" / first / "job_id").read_text().strip()
    proxy.refuse = True
    proxy.cut()
    if how == "scancel":
        bare.as_user("scancel", job_id)
    wait_for(lambda: bare.has_forgotten(job_id))
    proxy.refuse = False
    assert run.until() == ends, run.message
    assert starts(folder) == runs
    assert len(jobs(folder)) == (2 if how == "walltime" else 1), "run again only where it was lost"
    if how == "scancel":
        assert set(run.states().values()) == {"Cancelled"}
