"""Looking at evaluations and ending them: `ls runs`, `status`, `info`, `logs`, `kill`, `export`."""

import csv
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from proctor.cli.address import Address
from proctor.cli.api import PrefectApi, ui_url
from proctor.cli.artifacts import Progress
from proctor.cli.evaluations import find
from proctor.cli.words import duration
from tests.cli.machine import Machine
from tests.waiting import wait_for


@pytest.mark.live
def test_it_is_found_by_any_of_its_ids(machine: Machine, finished: str) -> None:
    whole = machine.json("info", finished)
    assert machine.json("status", finished[:7])["id"] == finished
    assert machine.json("info", whole["flow_run_id"])["id"] == finished
    assert whole["state"] == "COMPLETED"
    assert whole["config"]["target"]["api_endpoint"]["model_id"] == "tiny"
    shown = machine.run("info", finished).stdout
    assert f"output      {whole['output_dir']}" in shown
    assert ui_url(machine.api_url, whole["flow_run_id"]) in shown


@pytest.mark.live
@pytest.mark.parametrize("command", ["info", "status", "logs", "kill", "export", "resume"])
@pytest.mark.parametrize("wrong", ["ffffffff", "not-an-id", "00000000-0000-0000-0000-000000000000"])
def test_an_unknown_id_is_one_sentence(machine: Machine, command: str, wrong: str) -> None:
    done = machine.run(command, wrong)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert wrong.split(".", maxsplit=1)[0] in done.stderr
    assert "proctor ls runs" in done.stderr


@pytest.mark.live
def test_runs_are_filtered_by_state(machine: Machine, finished: str) -> None:
    assert finished in {run["id"] for run in machine.json("ls", "runs", "--state", "completed")}
    assert finished not in {run["id"] for run in machine.json("ls", "runs", "--state", "failed")}
    table = machine.run("ls", "runs").stdout.splitlines()
    assert next(line.split()[:5] for line in table if line.startswith(finished)) == [
        *(finished, "tiny", "on", "simulated", finished)
    ]
    assert machine.run("ls", "runs", "--state", "done").returncode == 2


@pytest.mark.live
def test_results_are_exported_from_the_state_store(machine: Machine, finished: str, tmp_path: Path) -> None:
    done = machine.run(
        *("export", finished, "--dest", "local", "--format", "json", "--format", "csv", "--output-dir", str(tmp_path))
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "results.json"), str(tmp_path / "results.csv")]
    assert json.loads((tmp_path / "results.json").read_text())["evaluation"] == finished
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert [(row["benchmark"], row["value"]) for row in rows] == [("mmath.mmath_en", "0.5"), ("mmath.mmath_zh", "0.5")]


@pytest.mark.live
def test_logs_of_orchestration_and_unknown_benchmarks(machine: Machine, finished: str) -> None:
    flow = wait_for(lambda: machine.run("logs", finished, "--flow").stdout)
    assert "COMPLETED" in flow
    wrong = machine.run("logs", f"{finished}.mmath_e")
    assert wrong.returncode == 2
    assert "did you mean 'mmath_en'?" in wrong.stderr
    both = machine.run("logs", finished)
    assert both.returncode == 0, both.stderr
    assert "==> mmath.mmath_en (COMPLETED) <==" in both.stdout


def running(machine: Machine, evaluation: str) -> None:
    rows = wait_for(lambda: machine.json("status", evaluation)["progress"], pause=0.5)
    wait_for(lambda: machine.json("status", evaluation)["progress"][0]["state"] == "RUNNING", pause=1)
    assert len(rows) == 2


@pytest.mark.live
def test_one_benchmark_is_killed_alone_and_then_all(machine: Machine) -> None:
    evaluation = machine.detached("execution.step_seconds=300", "execution.max_parallel=2")
    running(machine, evaluation)
    wrong = machine.run("kill", f"{evaluation}.hellaswag")
    assert wrong.returncode == 2
    assert "mmath.mmath_en" in wrong.stderr
    one = machine.run("kill", f"{evaluation}.mmath_en")
    assert one.returncode == 0, one.stderr
    assert f"mmath.mmath_en of {evaluation} is Cancelled" in one.stdout

    def states() -> list[str]:
        return [row["state"] for row in machine.json("status", evaluation)["progress"]]

    wait_for(lambda: "CANCELLED" in states(), pause=0.5)
    assert states() == ["CANCELLED", "RUNNING"]
    everything = machine.run("kill", evaluation)
    assert everything.returncode == 0, everything.stderr
    assert machine.json("status", evaluation)["state"] == "CANCELLED"
    again = machine.run("kill", evaluation)
    assert again.returncode == 0
    assert f"{evaluation} is already Cancelled" in again.stdout


@pytest.mark.live
def test_it_is_killed_when_no_process_drives_it(machine: Machine, finished: str) -> None:
    api = PrefectApi(Address(machine.api_url, "test"))
    record = find(api, finished)
    deployment = api.get("/deployments/name/evaluate/simulated")["id"]
    orphan = api.post(
        f"/deployments/{deployment}/create_flow_run",
        parameters=dict(record.parameters),
        tags=["proctor:evaluation"],
        state={"type": "PENDING"},
        labels={"proctor.engine": str(record.labels["proctor.engine"])},
    )["id"]
    api.post(f"/flow_runs/{orphan}/set_state", state={"type": "RUNNING"}, force=True)
    api.patch(f"/flow_runs/{orphan}", infrastructure_pid="gone:1")
    done = machine.run("kill", orphan)
    assert done.returncode == 0, done.stderr
    assert machine.json("status", orphan)["state"] == "CANCELLED"


@pytest.mark.live
def test_what_is_out_of_sight_can_be_resumed(machine: Machine, finished: str) -> None:
    lost = machine.run(
        *("run", "--config", machine.config(), "--wait"),
        *("-o", "execution.vanish=[mmath_en]", "-o", "execution.patience=3"),
    )
    assert lost.returncode == 1
    named = re.search(r"proctor resume ([0-9a-f]{8})", lost.stderr)
    assert named
    first = machine.json("status", named[1])
    assert [row["state"] for row in first["progress"]] == ["UNKNOWN", "COMPLETED"]
    assert machine.run("resume", named[1], "--detach").returncode == 0
    wait_for(
        lambda: (last := machine.json("status", named[1]))["ended"] not in {None, first["ended"]} and last, pause=1
    )
    done = machine.run("resume", finished)
    assert done.returncode == 1
    assert "only an evaluation that ended early" in done.stderr


def test_what_nobody_confirms_is_unknown() -> None:
    now = datetime.now(UTC)
    seen = Progress("mmath.mmath_en", state="RUNNING", observed=now - timedelta(minutes=3))
    assert seen.words(now) == "UNKNOWN (RUNNING 3 min 00 s ago)"
    assert Progress("x", state="COMPLETED", observed=now - timedelta(hours=1)).words(now) == "COMPLETED"
    assert Progress("x", state="RUNNING", observed=now).words(now) == "RUNNING"
    assert Progress("x", state="PENDING", adrift=True).words(now) == "UNKNOWN (PENDING)"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "–"), (0.42, "0.4 s"), (59.4, "59 s"), (59.7, "1 min 00 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")],
)
def test_durations_are_for_people(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


def test_the_ui_of_a_server_and_of_the_cloud() -> None:
    assert ui_url("http://127.0.0.1:4200/api", "x") == "http://127.0.0.1:4200/runs/flow-run/x"
    cloud = "https://api.prefect.cloud/api/accounts/a/workspaces/w"
    assert ui_url(cloud, "x") == "https://app.prefect.cloud/account/a/workspace/w/runs/flow-run/x"
    assert httpx.URL(ui_url(cloud, "x")).host == "app.prefect.cloud"
