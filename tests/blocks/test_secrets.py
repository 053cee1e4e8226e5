"""Values of environment variables: read at submission, never shown."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proctor.blocks.job import Container, EnvVar
from proctor.blocks.secrets import resolve_env, runtime_value
from proctor.configs.errors import ConfigError


def test_values_come_from_where_they_are_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "of the host")
    variables = (EnvVar("A", "host", "HERE"), EnvVar("B", "lit", "$text"), EnvVar("C", "runtime", "THERE"))
    assert resolve_env(Container(env=variables), "a.0") == {"A": "of the host", "B": "$text"}


def test_a_missing_one_is_named_but_never_what_was_written_for_it() -> None:
    pasted = "sk-a-key-pasted-by-mistake"
    with pytest.raises(ConfigError, match=r"mmath: .*env_vars\.API_KEY") as caught:
        resolve_env(Container(env=(EnvVar("API_KEY", "host", pasted),)), "mmath")
    assert pasted not in str(caught.value)
    with pytest.raises(ConfigError, match=r"mmath: .*env_vars\.API_KEY") as caught:
        runtime_value("API_KEY", pasted, "mmath")
    assert pasted not in str(caught.value)


def test_a_prefect_server_that_does_not_answer_is_worth_another_try(tmp_path: Path) -> None:
    code = (
        "from proctor.blocks.secrets import value_of; from proctor.blocks.job import EnvVar;"
        "from proctor.blocks.errors import TransientError\n"
        "try: value_of(EnvVar('KEY', 'secret', 'block'), 'mmath')\n"
        "except TransientError as error: print(error)"
    )
    env = os.environ | {"PREFECT_API_URL": "http://127.0.0.1:1/api", "PREFECT_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "env_vars.KEY" in done.stdout, done.stderr


def test_a_registry_login_that_cannot_be_read_now_is_worth_another_try(tmp_path: Path) -> None:
    code = (
        "from proctor.blocks.docker.engine import registry_auth; from proctor.blocks.errors import TransientError\n"
        "try: registry_auth('block')\n"
        "except TransientError as error: print(error)"
    )
    env = os.environ | {"PREFECT_API_URL": "http://127.0.0.1:1/api", "PREFECT_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "execution.registry_auth cannot be read" in done.stdout, done.stderr
