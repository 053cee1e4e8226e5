"""The embedded demo: its config plans, and everything it names is there. `make demo` runs it for real."""

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
