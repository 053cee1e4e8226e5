"""`--json` everywhere: one document on stdout, whatever the command does."""

import json
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from proctor.cli.main import cli, main
from tests.cli.machine import Machine
from tests.waiting import wait_for

CONFIG = """
execution: {output_dir: /out}
target: {api_endpoint: {url: "http://localhost:8080/v1/chat/completions", model_id: m}}
evaluation: {tasks: [{name: mmath_en}]}
"""


def commands(group: click.Group, above: str = "") -> list[tuple[str, click.Command]]:
    context = click.Context(group)
    found: list[tuple[str, click.Command]] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command
        if isinstance(command, click.Group):
            found += commands(command, f"{above}{name} ")
        else:
            found.append((above + name, command))
    return found


def test_no_command_is_without_it() -> None:
    known = commands(cli)
    assert {"run", "ls runs", "reap"} <= {name for name, _ in known}
    acting = [(name, command) for name, command in known if name != "worker"]  # it only ends with its process
    assert not [name for name, command in acting if "--json" not in {o for p in command.params for o in p.opts}]


def test_what_would_run_is_a_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    monkeypatch.setattr(sys, "argv", ["proctor", "run", "--config", str(tmp_path / "c.yaml"), "--dry-run", "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert document["config"]["evaluation"]["tasks"] == [{"name": "mmath_en"}]
    assert document["jobs"][0]["name"].startswith("proctor-00000000-")
    assert "docker run" in document["jobs"][0]["rendered"]


def said(machine: Machine, *arguments: str, code: int = 0) -> Any:
    done = machine.run(*arguments, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


@pytest.mark.live
def test_commands_that_act_answer_with_documents(machine: Machine, tmp_path: Path) -> None:
    config = machine.config()
    ended = said(machine, "run", "--config", config)
    assert (ended["state"], ended["results"]["benchmarks"][0]["state"]) == ("COMPLETED", "COMPLETED")
    lines = machine.run("logs", f"{ended['id']}.mmath_en", "--json").stdout.splitlines()
    assert all(set(json.loads(line)) == {"line"} for line in lines)
    (receipt,) = said(machine, "export", ended["id"], "--output-dir", str(tmp_path))
    assert receipt["id"] == ended["id"]
    assert (tmp_path / "results.json").exists()
    failed = said(machine, "run", "--config", config, "-o", "execution.fail=[mmath_en,mmath_zh]", code=1)
    assert failed["state"] == "FAILED"
    assert said(machine, "resume", failed["id"], "--detach")["id"] == failed["id"]
    begun = said(machine, "run", "--config", config, "-o", "execution.step_seconds=60", "--detach")
    wait_for(lambda: machine.json("status", begun["id"])["state"] == "RUNNING", pause=1)
    killed = said(machine, "kill", begun["id"])
    assert (killed["id"], killed["benchmark"], killed["state"]) == (begun["id"], None, "CANCELLED")
    assert said(machine, "reap", "--dry-run")["dry_run"] is True
    assert isinstance(said(machine, "reconcile")["done"], list)
    assert said(machine, "up") == {"url": machine.api_url, "own": True, "worker": True}
