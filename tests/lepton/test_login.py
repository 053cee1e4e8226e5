"""Which login counts."""

from pathlib import Path

import pytest

from proctor.blocks.lepton.login import login
from proctor.configs.execution_schema import LeptonExecution
from proctor.configs.host_env import forget, hand_over, on_behalf_of


def test_a_login_that_was_handed_over_counts_before_any_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROCTOR_HOME", str(tmp_path))
    monkeypatch.setenv("LEPTON_API_TOKEN", "the-worker-s-own-of-yesterday")
    hand_over("3f2a91bc", {"LEPTON_WORKSPACE_TOKEN": "ws9:of-the-shell"})
    assert login(LeptonExecution()).token == "the-worker-s-own-of-yesterday"
    with on_behalf_of("3f2a91bc"):
        found = login(LeptonExecution())
        assert (found.workspace, found.token) == ("ws9", "of-the-shell")
        forget("3f2a91bc")
        assert login(LeptonExecution()).token == "the-worker-s-own-of-yesterday"
