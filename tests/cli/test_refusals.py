"""What `proctor run` refuses before there is anything that could run it."""

from pathlib import Path

import pytest

from tests.cli.machine import CONFIG, Machine

pytestmark = pytest.mark.slow

LOCAL = CONFIG.replace("execution: simulated", "execution: local").replace(", step_seconds: 1", "")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("execution.docker_args=['--frobnicate']", "unknown flag --frobnicate"),
        ("execution.extra_docker_args='--memory=64Gi'", "--memory '64Gi' does not fit"),
        ("execution.gpus=device:0", "'device:0' does not fit"),
    ],
)
def test_what_a_dry_run_refuses_starts_nothing(tmp_path: Path, override: str, words: str) -> None:
    machine = Machine(tmp_path / "home", tmp_path)
    for arguments in (["--dry-run"], ["--detach"]):
        done = machine.run("run", "--config", machine.config(LOCAL), "-o", override, *arguments)
        left = machine.home.exists() and [each.name for each in machine.home.iterdir()]
        if left:
            machine.run("down")
        assert (done.returncode, left or []) == (2, []), done.stderr
        assert words in done.stderr
