"""What a person sees who watches an evaluation: a picture in a terminal, a line for each change elsewhere."""

import io
import os
import pty
import subprocess
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from proctor.cli.artifacts import STALE, Progress, row_of
from proctor.cli.evaluations import FlowRun, flow_run
from proctor.cli.status import document
from proctor.cli.watch import Lines, Sight, cells, picture
from tests.cli.machine import PROCTOR, Machine
from tests.lossy_proxy import LossyProxy

SERVED = """
defaults: [{{execution: simulated}}, {{deployment: generic}}, _self_]
deployment: {{image: example/server, command: serve, port: 8000, served_model_name: tiny}}
execution: {{output_dir: {output}, step_seconds: 12}}
evaluation: {{tasks: [{{name: mmath_en}}, {{name: mmath_zh}}]}}
"""


def evaluation(**execution: object) -> FlowRun:
    return flow_run(
        {
            "id": "0199aaaa-bbbb-7ccc-8ddd-eeee3f2a91bc",
            "name": "tiny on slurm 3f2a91bc",
            "state_type": "RUNNING",
            "state_name": "Running",
            "parameters": {"config": {"execution": execution}},
        }
    )


ROWS = (
    Progress("server vllm", step="server", job="j-1", state="RUNNING", message="answers"),
    Progress("mmath.mmath_en", step="mmath_en.0", state="RUNNING", requests=120, per_minute=14),
    Progress("mmath.mmath_en", step="mmath_en.1", state="PENDING", message="waits for its turn"),
)


def test_the_same_benchmark_twice_is_told_once_each(capfd: pytest.CaptureFixture[str]) -> None:
    lines, sight = Lines(), Sight(evaluation(), ROWS)
    for _ in range(3):
        lines(sight)
    lines(replace(sight, rows=(*ROWS[:2], replace(ROWS[2], state="RUNNING", message=""))))
    said = [line.split(" ", 1)[1] for line in capfd.readouterr().err.splitlines()]
    assert said == [
        "3f2a91bc Running",
        "server vllm RUNNING (answers)",
        "mmath.mmath_en RUNNING",
        "mmath.mmath_en 120 requests answered, 14/min",
        "mmath.mmath_en PENDING (waits for its turn)",
        "mmath.mmath_en RUNNING",
    ]


def test_the_picture_has_servers_requests_rates_and_links() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(picture(Sight(evaluation(), ROWS), [("plan", "http://ui/artifacts/key/plan-3f2a91bc")]))
    shown = console.export_text()
    assert "server vllm" in shown
    assert "answers" in shown
    assert "120  14/min" in shown
    assert "http://ui/artifacts/key/plan-3f2a91bc" in shown


def test_each_benchmark_has_its_time() -> None:
    now = datetime.now(UTC)
    began = {"benchmark": "mmath.mmath_en", "step": "mmath_en.0", "since": (now - timedelta(seconds=65)).isoformat()}
    rows = [
        row_of(evaluation(), {**began, "state": "RUNNING", "seconds": None}),
        row_of(evaluation(), {**began, "state": "FAILED", "seconds": 185.4}),
        row_of(evaluation(), {**began, "state": "PENDING", "since": None, "seconds": None}),
        row_of(evaluation(), {**began, "state": "COMPLETED"}),  # written before there was this number
    ]
    assert [cells(row, now)[2] for row in rows] == ["1 min 05 s", "3 min 05 s", "", ""]


def test_programs_get_servers_and_benchmarks_apart() -> None:
    said = document(evaluation(), ROWS)
    assert [each["step"] for each in said["progress"]] == ["mmath_en.0", "mmath_en.1"]
    assert (said["progress"][0]["requests"], said["progress"][0]["requests_per_minute"]) == (120, 14)
    assert said["servers"] == [
        {
            "state": "RUNNING",
            "last_state": "RUNNING",
            "message": "answers",
            "observed": None,
            "server": "server vllm",
            "job": "j-1",
        }
    ]


@pytest.mark.parametrize(
    ("execution", "silence", "known"),
    [
        ({"type": "local"}, STALE - 5, True),
        ({"type": "local"}, STALE + 5, False),
        ({"type": "lepton"}, 75, True),
        ({"type": "lepton"}, 300, False),
        ({"type": "local", "poll_interval": "00:02:00"}, 150, True),
        ({"type": "local", "poll_interval": 120}, 400, False),
    ],
)
def test_a_state_is_unknown_only_after_looks_that_were_missed(
    execution: dict[str, object], silence: float, known: bool
) -> None:
    now = datetime.now(UTC)
    seen = (now - timedelta(seconds=silence)).isoformat()
    row = {"benchmark": "mmath.mmath_en", "step": "mmath_en.0", "state": "RUNNING", "observed": seen}
    assert (row_of(evaluation(**execution), row).words(now) == "RUNNING") is known


def in_a_terminal(machine: Machine, *arguments: str) -> tuple[int, str]:
    """The exit code of a command in a terminal of 160 columns, and everything that it drew there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["sh", "-c", 'stty cols 160 rows 40; exec "$0" "$@"', PROCTOR, *arguments],
        env=machine.environment(TERM="xterm", COLUMNS="160"),
        cwd=machine.work,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    drawn = b""
    with suppress(OSError):  # its end
        while data := os.read(ours, 65536):
            drawn += data
    os.close(ours)
    return process.wait(60), drawn.decode(errors="replace")


@pytest.mark.live
def test_a_terminal_shows_the_evaluation_as_it_goes_on(machine: Machine) -> None:
    done = machine.run("run", "--config", machine.config(SERVED), "--detach", LOGNAME="alice")
    assert done.returncode == 0, done.stderr
    name = done.stdout.strip()
    code, drawn = in_a_terminal(machine, "status", name, "--watch")
    assert code == 0, drawn
    for words in ("server generic", "mmath.mmath_en", "RUNNING", "waits for its turn", f"/artifacts/key/plan-{name}"):
        assert words in drawn
    assert str(machine.work / "results") in drawn
    assert "/min" in drawn, "how fast it gets on"
    assert "accuracy" in drawn, "the scores at the end"
    after = machine.json("status", name)
    assert [each["requests"] for each in after["progress"]] == [100, 100]
    assert [11 < each["seconds"] < 60 for each in after["progress"]] == [True, True], after["progress"]
    table = machine.run("status", name).stdout.splitlines()
    assert [line.split()[2:4] for line in table if line.startswith("mmath")] == [
        [f"{each['seconds']:.0f}", "s"] for each in after["progress"]
    ]
    assert [(each["server"], each["state"]) for each in after["servers"]] == [("server generic", "COMPLETED")]
    assert machine.json("info", name)["progress"] == after["progress"]
    assert "user      " in (facts := machine.run("info", name).stdout)
    assert f"mmath.mmath_en ({after['progress'][0]['seconds']:.0f} s), mmath.mmath_zh (" in facts
    assert next(line.split()[-1] for line in facts.splitlines() if line.startswith("user ")) == "alice"


@pytest.mark.live
@pytest.mark.parametrize(
    ("losing", "times"), [("/api/", 1), ("/artifacts/", 9)], ids=["any answer once", "scores for a while"]
)
def test_a_watch_ends_as_the_evaluation_did_though_answers_are_lost(
    machine: Machine, finished: str, losing: str, times: int
) -> None:
    with LossyProxy(machine.api_url, losing, times) as proxy:
        done = machine.run("status", finished, "--watch", PREFECT_API_URL=proxy.url)
        assert len(proxy.lost) > 2
    assert (done.returncode, "accuracy" in done.stdout) == (0, True), done.stderr


@pytest.mark.live
def test_a_run_starts_once_though_every_answer_to_it_is_lost(machine: Machine) -> None:
    before = machine.json("ls", "runs")
    with LossyProxy(machine.api_url) as proxy:
        done = machine.run("run", "--config", machine.config(), "--detach", PREFECT_API_URL=proxy.url)
    assert done.returncode == 0, done.stderr
    assert len(proxy.lost) > 2
    assert machine.run("status", done.stdout.strip(), "--watch").returncode == 0
    assert [run["id"] for run in machine.json("ls", "runs") if run["id"] not in {each["id"] for each in before}] == [
        done.stdout.strip()
    ]
