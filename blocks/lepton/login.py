"""How a section logs in: the token, workspace and URL that it names, that the usual variables hold, or `lep login` left."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from proctor.blocks.job import EnvVar
from proctor.blocks.secrets import value_of
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import LeptonExecution
from proctor.configs.host_env import first_value, host_value
from proctor.configs.lepton_login import CACHE_DIR, ORIGIN_URL, TOKENS, WORKSPACE_ID, WORKSPACE_URL


@dataclass(frozen=True, slots=True)
class Login:
    """How a section logs in; what is None the SDK makes up."""

    workspace: str | None
    url: str | None
    token: str | None = field(default=None, repr=False)
    origin: str | None = None


def login(execution: LeptonExecution) -> Login:
    """The workspace, URL and token of a section as they are now. Raises ConfigError for a token that is not there."""
    workspace = execution.workspace or host_value(WORKSPACE_ID, os.environ)
    token = token_of(execution)
    if token and ":" in token:
        named, _, token = token.partition(":")
        workspace = workspace or named
    record = recorded()
    workspace = workspace or record.get("current_workspace")
    known = below(below(record, "workspaces"), workspace or "")
    url = execution.workspace_url or host_value(WORKSPACE_URL, os.environ) or known.get("url")
    origin = host_value(ORIGIN_URL, os.environ) or known.get("workspace_origin_url")
    return Login(workspace, url.rstrip("/") if url else None, token or known.get("auth_token"), origin)


def token_of(execution: LeptonExecution) -> str | None:
    """The token where the section or the usual variables name one; one that was handed over counts before our own."""
    if execution.token:
        source, _, name = execution.token.partition(":")
        variable = EnvVar("token", "secret" if source == "secret" else "host", name)
        try:
            return value_of(variable, "execution.token")
        except ConfigError:
            raise ConfigError(f"execution.token: {execution.token} is not set where Proctor runs") from None
    return first_value(TOKENS, os.environ)


def below(section: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A part of the record; empty where there is none."""
    found = section.get(key)
    return found if isinstance(found, dict) else {}


def recorded() -> Mapping[str, Any]:
    """What `lep login` wrote down, read anew each time: the SDK reads it at its import only. Empty for nothing of use."""
    folder = host_value(CACHE_DIR, os.environ) or str(Path.home() / ".cache" / "lepton")
    try:
        found = yaml.safe_load(Path(folder, "workspace_info.yaml").read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}
