"""A harness that ends well and leaves no usable results: its benchmark has failed and says why, the others' scores stay."""

import json
from pathlib import Path

import pytest

from tests.flows.stack import Stack

pytestmark = pytest.mark.live
HARNESS = str(Path(__file__).parent.parent / "fake_harness")
CUT_OFF = "(out / 'results.yml').write_text('results: {tasks: {a: {metrics: {m: {sco'); os._exit(0)"
WRONG = "(out / 'results.yml').write_text('results: {tasks: {a: 3}}'); os._exit(0)"
NOTHING = "os._exit(0)"


def test_what_cannot_be_read_fails_alone(stack: Stack, tmp_path: Path, cache: str, endpoint: str) -> None:
    scripts = {"alpha": CUT_OFF, "beta": "", "gamma": WRONG, "delta": NOTHING}
    tasks = [
        {"name": f"fake.{name}", "packages": [HARNESS], "env_vars": {"FAKE_SCRIPT": f"lit:{script}"}}
        for name, script in scripts.items()
    ]
    config = {
        "execution": {"type": "process", "output_dir": str(tmp_path), "cache_dir": cache, "max_parallel": 4},
        "target": {"api_endpoint": {"url": endpoint, "model_id": "fake-model"}},
        "evaluation": {"trust_unlisted": True, "tasks": tasks},
    }
    run = stack.start("process", config)
    assert run.until() == "Failed"
    assert all(f"fake.{name}" in run.message for name in ("alpha", "gamma", "delta")), run.message
    results = json.loads((run.folder / "results.json").read_text())
    found = {each["benchmark"]: each for each in results["benchmarks"]}
    assert [each["state"] for each in found.values()] == ["FAILED", "COMPLETED", "FAILED", "FAILED"]
    assert found["fake.beta"]["scores"][0]["value"] == 0.5
    assert "results.yml cannot be read" in found["fake.alpha"]["message"]
    assert "results.tasks.a is a int" in found["fake.gamma"]["message"]
    assert "results" in found["fake.delta"]["message"]
    kept = (run.folder / "alpha.0" / "results.yml").read_text()
    assert kept.startswith("results: {tasks: {a:"), "what was fetched stays"
