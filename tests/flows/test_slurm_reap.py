"""Jobs on the real cluster whose evaluation is over are found by their names, and ended."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import SSH_PORT, as_user, ssh_config
from tests.flows.stack import Stack
from tests.flows.test_reap import reap
from tests.flows.test_slurm_flow import config, package
from tests.waiting import wait_for

pytestmark = pytest.mark.live

__all__ = ["package"]


@pytest.fixture
def submitted() -> Iterator[dict[str, str]]:
    """Ids of jobs by the evaluation that they seem to belong to; ended in the end."""
    jobs: dict[str, str] = {}
    yield jobs
    as_user("scancel", *jobs.values())


def submit(evaluation: str) -> str:
    """A job with a name of ours that nobody waits for."""
    options = [f"--job-name=proctor-{evaluation}-abcdef-9-1", "--account=eval", "--partition=gpu", "--output=/dev/null"]
    return as_user("sbatch", "--parsable", *options, "--wrap", "sleep 600").strip()


def queued(ident: str) -> bool:
    """Whether a job waits or runs."""
    return ident in as_user("squeue", "-h", "-o", "%i").split()


def test_only_jobs_of_what_is_over_are_ended(
    stack: Stack, tmp_path: Path, shared: Path, package: str, endpoint: str, submitted: dict[str, str]
) -> None:
    """A cluster that evaluations know by two addresses is one cluster."""
    other_address = ssh_config(tmp_path, SSH_PORT)
    runs = [
        stack.start("slurm", config(tmp_path, shared, package, endpoint, **address))
        for address in ({}, {"ssh_config": other_address})
    ]
    for each in runs:
        assert each.until(seconds=300) == "Completed", each.message
    run = runs[0]
    for evaluation in (run.id, "ffffffff"):
        submitted[evaluation] = submit(evaluation)
    words = f"Slurm job {submitted[run.id]} (proctor-{run.id}-abcdef-9-1) of {run.id}"
    assert reap(stack, 600, "really", run) == [], "within the grace"
    assert reap(stack, 0, "dry", run) == [f"would end {words}"]
    assert queued(submitted[run.id])
    assert reap(stack, 0, "really", run) == [f"ended {words}"]
    wait_for(lambda: not queued(submitted[run.id]))
    assert queued(submitted["ffffffff"]), "what this server does not know is somebody else's"
