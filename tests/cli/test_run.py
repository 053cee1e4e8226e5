"""`proctor run`: start, watch, tell the outcome."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.cli.machine import CONFIG, Machine
from tests.waiting import wait_for

pytestmark = pytest.mark.live

HARNESS = Path(__file__).parent.parent / "fake_harness"
CANARY = "canary-9d1c55e07b"


def count(machine: Machine) -> int:
    return len(machine.json("ls", "runs", "--limit", "200"))


def test_a_run_ends_with_its_scores_and_files(machine: Machine) -> None:
    done = machine.run("run", "--config", machine.config(), "-o", "target.api_endpoint.model_id=never-measured-before")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["benchmark", "metric", "value", "stderr", "samples", "time"]
    assert [line.split()[:3] for line in lines[1:3]] == [
        ["mmath.mmath_en", "mmath_en.accuracy", "0.5"],
        ["mmath.mmath_zh", "mmath_zh.accuracy", "0.5"],
    ]
    files = {name: Path(path) for name, path in (line.split(None, 1) for line in lines[3:])}
    assert json.loads(files["results"].read_text())["benchmarks"][0]["scores"]
    assert "<html" in files["report"].read_text()
    assert str(files["ui"]).startswith(machine.api_url.removesuffix("/api").replace("//", "/"))
    assert "mmath.mmath_en COMPLETED" in done.stderr


def test_a_run_that_is_created_in_prefect_keeps_its_results(machine: Machine) -> None:
    """Its engine works in a folder that Prefect's worker removes at the end."""
    target = {"api_endpoint": {"url": "http://127.0.0.1:9/v1/chat/completions", "model_id": "tiny"}}
    config = {"target": target, "evaluation": {"tasks": [{"name": "mmath_en"}]}, "execution": {"type": "simulated"}}
    found = httpx.get(f"{machine.api_url}/deployments/name/evaluate/simulated").raise_for_status().json()
    url = f"{machine.api_url}/deployments/{found['id']}/create_flow_run"
    run = httpx.post(url, json={"parameters": {"config": config}}).raise_for_status().json()
    assert machine.run("status", run["id"][-8:], "--watch").returncode == 0
    (kept,) = machine.work.glob(f"results/*-{run['id'][-8:]}/results.json")
    assert json.loads(kept.read_text())["flow_run_id"] == run["id"]


def test_one_failure_is_told_and_the_other_score_shown(machine: Machine) -> None:
    done = machine.run("run", "--config", machine.config(), "-o", "execution.fail=[mmath_en]", "--wait")
    assert done.returncode == 1
    assert "mmath_zh.accuracy" in done.stdout
    evaluation = re.search(r"evaluation ([0-9a-f]{8}) started", done.stderr)
    assert evaluation
    assert f"proctor logs {evaluation[1]}.mmath_en.0" in done.stderr
    assert "PENDING" not in done.stderr


SERVED = """
defaults: [{{execution: process}}, {{deployment: generic}}, _self_]
execution: {{output_dir: {output}}}
deployment: {{packages: [HARNESS], command: "sh -c 'echo no such model >&2; exit 4'"}}
target: {{api_endpoint: {{model_id: tiny}}}}
evaluation: {{trust_unlisted: true, tasks: [{{name: fake.alpha, packages: [HARNESS]}}]}}
""".replace("HARNESS", str(HARNESS))


def test_a_server_that_does_not_start_is_quoted(machine: Machine) -> None:
    done = machine.run("run", "--config", machine.config(SERVED))
    assert done.returncode == 1
    why = re.search(r"fake.alpha: FAILED: server died.*proctor (logs [0-9a-f]{8} --server)\)", done.stderr)
    assert why, done.stderr
    assert "the model server's last words:\n  no such model\n" in done.stderr
    assert "no such model" in machine.run(*why[1].split()).stdout


def test_an_engine_that_is_away_is_told_while_it_is_waited_for(machine: Machine) -> None:
    text = CONFIG.replace("execution: simulated", "execution: local").replace(
        "step_seconds: 1", "docker_host: unix:///nowhere"
    )
    evaluation = machine.run("run", "--config", machine.config(text), "--detach").stdout.strip()
    waiting = "nothing could be submitted yet, trying again: no Docker engine answers on unix:///nowhere"
    wait_for(lambda: waiting in machine.run("status", evaluation).stdout, pause=1)
    killed = machine.run("kill", evaluation)
    assert killed.returncode == 1
    assert f"the jobs of {evaluation} could not be released: no Docker engine answers" in killed.stderr
    assert machine.json("status", evaluation)["state"] == "CANCELLED"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["-o", "execution.step_second=1"], "step_seconds"),
        (["-t", "hellaswag"], "hellaswag"),
        (["-o", "target.api_endpoint.api_key_name=NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE"),
        (["--detach", "--wait"], "--detach"),
    ],
)
def test_a_mistake_starts_nothing(machine: Machine, options: list[str], named: str) -> None:
    before = count(machine)
    done = machine.run("run", "--config", machine.config(), *options)
    assert done.returncode == 2
    assert named in done.stderr
    assert count(machine) == before


def test_ctrl_c_stops_watching_only(machine: Machine) -> None:
    process = machine.start("run", "--config", machine.config(), "-o", "execution.step_seconds=6")
    assert process.stderr
    started = ""
    while "RUNNING" not in started:
        started += process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    found = re.search(r"evaluation ([0-9a-f]{8}) goes on.*proctor status \1 --watch.*proctor kill \1", err)
    assert found, err
    watched = machine.run("status", found[1], "--watch")
    assert watched.returncode == 0
    assert "mmath_en.accuracy" in watched.stdout


def test_a_secret_of_the_shell_reaches_the_harness_and_nothing_else(machine: Machine, endpoint: str) -> None:
    script = "(out / 'knows').write_text(str(len(os.environ['TOKEN']))); time.sleep(3)"
    text = (
        CONFIG.replace("execution: simulated", "execution: process")
        .replace(", step_seconds: 1", "")
        .replace(
            "evaluation: {{tasks: [{{name: mmath_en}}, {{name: mmath_zh}}]}}",
            "evaluation:\n  trust_unlisted: true\n"
            f'  env_vars: {{{{TOKEN: "host:CANARY", FAKE_SCRIPT: "lit:{script}"}}}}\n'
            f"  tasks: [{{{{name: fake.alpha, packages: [{HARNESS}]}}}}]",
        )
    )
    config = machine.config(text.replace("http://127.0.0.1:9/v1/chat/completions", endpoint))
    process = machine.start("run", "--config", config, CANARY=CANARY)
    arguments = ""
    while process.poll() is None:
        arguments += "\n".join(" ".join(each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"]))
        time.sleep(0.3)
    out, err = process.communicate()
    assert process.returncode == 0, err
    (knows,) = (machine.work / "results").glob("*/alpha.0/knows")
    assert knows.read_text() == str(len(CANARY))
    assert CANARY not in out + err + arguments
    holders = [path for root in (machine.home, machine.work) for path in root.rglob("*") if holds(path, CANARY)]
    assert not holders
    assert not list((machine.home / "env").iterdir())


def holds(path: Path, text: str) -> bool:
    return path.is_file() and text.encode() in path.read_bytes()


def test_the_commands_that_look_do_not_import_prefect(machine: Machine) -> None:
    evaluation = machine.json("ls", "runs")[0]["id"]
    for arguments in (["ls", "runs"], ["status", evaluation], ["info", evaluation], ["run", "--help"]):
        code = (
            f"import sys; from proctor.cli.main import cli; cli.main({arguments!r}, standalone_mode=False);"
            "heavy = {'prefect', 'docker', 'fastapi'} & set(sys.modules); assert not heavy, heavy"
        )
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=machine.environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
