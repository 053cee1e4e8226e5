"""Every way to log in, each against the stand-in: what is found where, what counts first, and what is said if nothing is."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from proctor.blocks.errors import TransientError
from proctor.blocks.lepton.workspace import Workspace
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import LeptonExecution
from proctor.configs.host_env import current_evaluation, hand_over
from proctor.configs.lepton_login import login_variables
from tests.flows.stack import free_port
from tests.lepton.service import Service

NAMES = ("API_TOKEN", "WORKSPACE_TOKEN", "WORKSPACE_ID", "WORKSPACE_URL", "WORKSPACE_ORIGIN_URL")


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No login of the shell that runs the tests."""
    for name in NAMES:
        monkeypatch.delenv(f"LEPTON_{name}", raising=False)
    monkeypatch.setenv("LEPTON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("PROCTOR_HOME", str(tmp_path / "home"))


@pytest.fixture
def evaluation() -> Iterator[str]:
    """The evaluation that is being driven."""
    mark = current_evaluation.set("0a1b2c3d")
    yield "0a1b2c3d"
    current_evaluation.reset(mark)


def opens(execution: LeptonExecution) -> bool:
    """Whether the workspace answers with this section."""
    return bool(Workspace(execution).groups())


def here(service: Service, **more: str) -> LeptonExecution:
    return LeptonExecution(workspace=service.workspace, workspace_url=service.url, **more)


@pytest.mark.parametrize("name", ["LEPTON_API_TOKEN", "LEPTON_WORKSPACE_TOKEN"])
def test_by_the_usual_variables(legacy: Service, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, legacy.token)
    monkeypatch.setenv("LEPTON_WORKSPACE_ID", legacy.workspace)
    monkeypatch.setenv("LEPTON_WORKSPACE_URL", legacy.url + "/")
    assert opens(LeptonExecution())


def test_by_workspace_and_token_in_one(legacy: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEPTON_API_TOKEN", f"{legacy.workspace}:{legacy.token}")
    assert opens(LeptonExecution(workspace_url=legacy.url))


def test_by_a_variable_that_the_section_names(legacy: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEPTON_API_TOKEN", "another one")
    monkeypatch.setenv("TEAM_TOKEN", legacy.token)
    assert opens(here(legacy, token="host:TEAM_TOKEN"))
    assert "TEAM_TOKEN" in login_variables(here(legacy, token="host:TEAM_TOKEN"))


def record(folder: Path, service: Service, token: str) -> None:
    """What `lep login` writes."""
    known = {service.workspace: {"id": service.workspace, "url": service.url, "auth_token": token}}
    text = yaml.safe_dump({"workspaces": known, "current_workspace": service.workspace})
    (folder / "workspace_info.yaml").write_text(text)


def test_by_the_record_of_lep_login_which_is_read_anew(legacy: Service, tmp_path: Path) -> None:
    record(tmp_path, legacy, "expired")
    with pytest.raises(TransientError, match="refuses the token"):
        opens(LeptonExecution())
    record(tmp_path, legacy, legacy.token)
    assert opens(LeptonExecution())


def test_what_was_handed_over_counts_before_what_the_worker_has(
    legacy: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluation: str
) -> None:
    monkeypatch.setenv("LEPTON_API_TOKEN", "stale")
    hand_over(evaluation, {"LEPTON_WORKSPACE_TOKEN": legacy.token})
    assert opens(here(legacy))
    (tmp_path / "theirs").mkdir()
    record(tmp_path / "theirs", legacy, legacy.token)
    monkeypatch.delenv("LEPTON_API_TOKEN")
    hand_over(evaluation, {"LEPTON_CACHE_DIR": str(tmp_path / "theirs")})
    assert opens(LeptonExecution())


def test_the_origin_is_sent(legacy: Service, monkeypatch: pytest.MonkeyPatch, evaluation: str) -> None:
    hand_over(evaluation, {"LEPTON_API_TOKEN": legacy.token, "LEPTON_WORKSPACE_ORIGIN_URL": "https://team.example.com"})
    assert opens(here(legacy))
    assert legacy.requests[-1].headers["origin"] == "https://team.example.com"
    assert {"LEPTON_WORKSPACE_ORIGIN_URL", "LEPTON_CACHE_DIR"} <= set(login_variables(here(legacy)))


@pytest.mark.parametrize("text", ["", "[", "- 1", "workspaces: 3"])
def test_nothing_to_log_in_with_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "workspace_info.yaml").write_text(text)
    with pytest.raises(ConfigError, match="set LEPTON_WORKSPACE_ID and LEPTON_API_TOKEN"):
        opens(LeptonExecution())


def test_a_variable_that_is_named_and_not_set() -> None:
    with pytest.raises(ConfigError, match="host:NOWHERE_SET is not set where Proctor runs"):
        opens(LeptonExecution(token="host:NOWHERE_SET"))


def test_a_port_that_nobody_listens_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEPTON_API_TOKEN", "a-token")
    with pytest.raises(TransientError, match="Lepton does not answer"):
        opens(LeptonExecution(workspace="ws1", workspace_url=f"http://127.0.0.1:{free_port()}/api"))


def test_another_workspace_than_there_is(legacy: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEPTON_API_TOKEN", legacy.token)
    elsewhere = here(legacy).model_copy(update={"workspace_url": legacy.url + "x"})
    with pytest.raises(Exception, match="no such workspace at this URL"):
        Workspace(elsewhere).endpoints()


def test_without_the_sdk_it_is_said_what_to_install(legacy: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEPTON_API_TOKEN", legacy.token)
    monkeypatch.setitem(sys.modules, "leptonai.api.v2", None)
    with pytest.raises(ConfigError, match=r"pip install 'proctor\[lepton\]'"):
        opens(here(legacy))
