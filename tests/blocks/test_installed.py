"""What an installation can run is known before anything is started."""

import subprocess
import sys
from pathlib import Path

import pytest

from proctor.blocks.installed import installed, require_installed
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import BUILTIN_EXECUTIONS


@pytest.mark.parametrize("kind", sorted(set(BUILTIN_EXECUTIONS) - set(installed())))
def test_a_backend_that_is_not_there_is_refused_before_anything_starts(kind: str, tmp_path: Path) -> None:
    example = {"slurm": "slurm_llama_3_1_8b_instruct", "lepton": "lepton_vllm_llama_3_1_8b_instruct"}[kind]
    argv = [str(Path(sys.executable).parent / "proctor"), "run", "--config-dir", "examples", "--config-name", example]
    home = tmp_path / "home"
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PROCTOR_HOME": str(home)}
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"can show {kind!r} with --dry-run but not run it yet" in done.stderr
    assert not home.exists()


def test_a_misspelt_backend_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'process'"):
        require_installed("proces")
