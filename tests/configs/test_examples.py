"""Every example that we ship composes, plans and renders as it stands, also from an installed package."""

import subprocess
import sys
from pathlib import Path

import pytest

from proctor.configs.source import EXAMPLES

PROCTOR = str(Path(sys.executable).parent / "proctor")
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.yaml"))


def test_the_seeds_examples_are_among_them() -> None:
    assert {f"{name}_llama_3_1_8b_instruct" for name in ("local", "slurm", "lepton_vllm")} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_can_be_shown_from_anywhere(name: str, tmp_path: Path) -> None:
    argv = [PROCTOR, "run", "--config-dir", "examples", "--config-name", name, "--dry-run"]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "NGC_API_KEY": "canary-value", "HF_TOKEN": "canary-value"}
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "proctor-00000000-" in done.stdout
    assert "canary" not in done.stdout
    assert not list(tmp_path.iterdir()), "a dry run writes nothing"
