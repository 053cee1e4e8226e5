"""The embedded demo: its config plans, and everything it names is there. `make demo` runs it for real."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proctor import demo
from proctor.configs.load import read_config
from proctor.tasks.plan import plan


def test_the_demo_plans_three_benchmarks_on_one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(str(demo.__file__)).parent
    monkeypatch.setenv("PROCTOR_DEMO", str(folder))
    planned = plan(read_config(folder, "demo", ["deployment.port=18080"], ()).config, "00000000", datetime.now(UTC))
    (job,) = planned.jobs
    assert [step.benchmark for step in job.steps] == [
        *("primer.primer_facts", "mmath.mmath_en", "bfcl.bfclv2_ast_prompting")
    ]
    assert job.server
    assert job.server.port == 18080
    assert "--port 18080" in str(job.server.command)
    containers = [job.server.container, *(step.container for step in job.steps)]
    named = [package for container in containers for package in container.packages if "/" in package]
    assert named
    assert all(Path(each).exists() for each in named)


def test_a_machine_without_openmp_is_told_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "libgomp.so.1").touch()  # found first, and no library
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "PROCTOR_HOME": str(tmp_path / "home")}
    command = [str(Path(sys.executable).parent / "proctor"), "demo"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 2
    assert done.stderr == (
        "proctor: the demo's model server needs libgomp.so.1; install it first, on Debian: sudo apt-get install libgomp1\n"
    )
    assert not (tmp_path / "home").exists()
