"""`proctor ls tasks`, as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

PROCTOR = str(Path(sys.executable).parent / "proctor")


def proctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROCTOR, *arguments], capture_output=True, text=True, check=False)


def test_it_lists_every_benchmark_as_json() -> None:
    listed = json.loads(proctor("ls", "tasks", "--json").stdout)
    assert len([entry for entry in listed if entry["harness"] != "primer"]) == 421
    hellaswag = next(entry for entry in listed if entry["name"] == "lm-evaluation-harness.hellaswag")
    assert hellaswag["endpoint_type"] == "completions"
    assert hellaswag["required_capabilities"] == ["logprobs"]
    assert "@sha256:" in hellaswag["image"]


def test_a_filter_keeps_what_matches_and_hints_when_nothing_does() -> None:
    lines = proctor("ls", "tasks", "mmath_e").stdout.splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["mmath_en", "mmath_es"]
    nothing = proctor("ls", "tasks", "hellaswig")
    assert nothing.returncode == 0
    assert "did you mean hellaswag" in nothing.stderr


def test_a_misspelt_command_is_answered_with_the_nearest() -> None:
    wrong = proctor("ls", "taks")
    assert wrong.returncode == 2
    assert "did you mean 'tasks'?" in wrong.stderr
    assert "Traceback" not in wrong.stderr
