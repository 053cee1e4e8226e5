"""Values of environment variables: read at submission, never shown."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proctor.blocks.job import Container, EnvVar, JobSpec, Server, Step
from proctor.blocks.secrets import hidden, resolve_env, runtime_value
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_registry_login_that_cannot_be_read_now_is_worth_another_try(tmp_path: Path) -> None:
    code = (
        "from proctor.blocks.docker.engine import registry_auth; from proctor.blocks.errors import TransientError\n"
        "try: registry_auth('block')\n"
        "except TransientError as error: print(error)"
    )
    env = os.environ | {"PREFECT_API_URL": "http://127.0.0.1:1/api", "PREFECT_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "execution.registry_auth cannot be read" in done.stdout, done.stderr


def test_last_words_are_quoted_without_the_values_that_jobs_were_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"KEY": "canary-1234\n", "FILE": "canary-line-1\ncanary-line-2", "ON": "true"}.items():
        monkeypatch.setenv(name, value)
    given = (EnvVar("API_KEY", "host", "KEY"), EnvVar("DEBUG", "host", "ON"), EnvVar("MODE", "lit", "verbose"))
    step = Step("a.0", "fake.a", Container(env=(*given, EnvVar("GONE", "host", "NOT_SET"))), "{}", "")
    server = Server("generic", Container(env=(EnvVar("CERT", "host", "FILE"),)), "serve", 80, "m", ready_timeout=1)
    job = JobSpec("proctor-00000000-abcdef-0-1", "00000000", "/out", (step,), server)
    said = "Illegal header value b'Bearer canary-1234\\n' is true, verbose\ncanary-line-1\ncanary-line-2"
    expected = "Illegal header value b'Bearer <API_KEY>\\n' is true, verbose\n<CERT>\n<CERT>"
    assert hidden(said, [job]) == expected
