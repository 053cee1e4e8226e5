"""The step wrapper, run for real under every shell of this machine, and the reader of what it leaves."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from proctor.blocks import stage_files
from proctor.blocks.job import Container, JobSpec, JobState, Server, Step, StepStatus
from proctor.blocks.process import processes
from proctor.blocks.stage_files import ALIVE, GONE, UNSEEN, Seen, after_server_death, join, parse, read_folder
from proctor.blocks.stages import (
    COUNT_SECONDS,
    GRACE_SECONDS,
    StepPaths,
    models_url,
    server_command,
    server_wrapper,
    spellings,
    step_marker,
    step_wrapper,
)
from tests.blocks.shellcheck import check_with_shellcheck
from tests.contract import RESPONSE_CACHE
from tests.waiting import wait_closely

SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]
HARNESS = """#!/bin/sh
. "$FAKE_HARNESS"
"""


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    return ["busybox", "sh"] if request.param == "busybox" else [str(request.param)]


class Bench:
    """A folder with a fake `nemo-evaluator` (a real executable) and the wrapper's files."""

    def __init__(self, root: Path, shell: list[str]) -> None:
        self.root, self.shell = root, shell
        (root / "bin").mkdir()
        self.body = root / "harness body.sh"
        tool = root / "bin" / "nemo-evaluator"
        tool.write_text(HARNESS)
        tool.chmod(0o755)
        self.write("echo ran >>$OUT/ran; echo x: 1 >$OUT/results.yml")

    def write(self, body: str) -> None:
        self.body.write_text(f'OUT=$(dirname "$3")\n{body}\n')

    def job(self, *names: str, max_parallel: int = 1) -> JobSpec:
        steps = tuple(Step(name, name, Container(), "", "") for name in names)
        return JobSpec(f"proctor-{uuid4().hex[:8]}", "0" * 8, str(self.root), steps, max_parallel=max_parallel)

    def script(self, job: JobSpec, step: Step, ready_timeout: float = 5, *, counted: bool = False) -> Path:
        folder = self.root / step.name
        folder.mkdir(exist_ok=True)
        (self.root / "order").write_text("".join(f"{each.name}\n" for each in job.steps))
        paths = StepPaths(str(folder), str(self.root), str(self.root / "order"), str(folder / "run's.yaml"))
        path = folder / f"{job.name}.sh"
        if not path.exists():
            text = step_wrapper(job, step, paths, ready_timeout, counted=counted)
            path.write_text(text.replace(f"COUNT={COUNT_SECONDS}", "COUNT=0.1"))
        return path

    def env(self, job: JobSpec, step: Step) -> dict[str, str]:
        return os.environ | {
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "FAKE_HARNESS": str(self.body),
            "PROCTOR_STEP": step_marker(job.name, step.name),
        }

    def start(self, job: JobSpec, step: Step, ready_timeout: float = 5, **more: str) -> subprocess.Popen[bytes]:
        env = self.env(job, step) | more
        return subprocess.Popen(
            [*self.shell, str(self.script(job, step, ready_timeout))], env=env, start_new_session=True
        )

    def run(self, job: JobSpec, step: Step) -> StepStatus:
        self.start(job, step).wait(30)
        return join(read_folder(self.root / step.name, job.name), GONE)


@pytest.fixture
def bench(tmp_path: Path, shell: list[str]) -> Bench:
    root = tmp_path / 'it\'s $HOME; a "folder"'
    root.mkdir()
    return Bench(root, shell)


def test_an_image_that_only_knows_the_older_command_runs_too(bench: Bench) -> None:
    tool = bench.root / "bin" / "nemo-evaluator"
    tool.rename(tool.with_name("eval-factory"))
    bench.write('echo "$1 $2" >$OUT/asked; echo x: 1 >$OUT/results.yml')
    job = bench.job("a.0")
    assert bench.run(job, job.steps[0]).state is JobState.COMPLETED
    assert (bench.root / "a.0" / "asked").read_text() == "run_eval --run_config\n"


def test_an_image_without_a_harness_is_told(bench: Bench) -> None:
    (bench.root / "bin" / "nemo-evaluator").unlink()
    job = bench.job("a.0")
    assert bench.run(job, job.steps[0]).exit_code == 127


def test_nothing_is_told_to_anybody_about_the_run(bench: Bench) -> None:
    bench.write('echo "$NEMO_EVALUATOR_TELEMETRY_LEVEL" >$OUT/level; echo x: 1 >$OUT/results.yml')
    job = bench.job("a.0")
    bench.run(job, job.steps[0])
    assert (bench.root / "a.0" / "level").read_text() == "0\n"


def test_success_is_told_with_its_times(bench: Bench) -> None:
    job = bench.job("a.0")
    status = bench.run(job, job.steps[0])
    assert (status.state, status.exit_code) == (JobState.COMPLETED, 0)
    assert status.started
    assert status.ended
    assert status.started <= status.ended


@pytest.mark.slow
def test_answers_are_counted_beside_the_harness_and_not_after_it(bench: Bench) -> None:
    cache = f"import pathlib, sys; out = pathlib.Path(sys.argv[1]){RESPONSE_CACHE}"
    (bench.root / "cache.py").write_text(cache)
    bench.write(
        'python3 "$OUT/../cache.py" "$OUT"; until [ -e "$OUT/.proctor/requests" ]; do sleep 0.1; done; echo x: 1 >"$OUT/results.yml"'
    )
    job = bench.job("a.0")
    bench.script(job, job.steps[0], counted=True)
    assert bench.run(job, job.steps[0]).state is JobState.COMPLETED
    assert (bench.root / "a.0" / ".proctor" / "requests").read_text() == "7\n"
    marker = step_marker(job.name, "a.0")
    assert not processes.marked([marker])[marker]


@pytest.mark.parametrize(
    ("body", "state", "code", "words"),
    [
        ("exit 3", JobState.FAILED, 3, "exit code 3"),
        ("exit 0", JobState.FAILED, 65, "no results.yml"),
        (
            "echo x >$OUT/results.yml; touch $OUT/.nemo_evaluator_interrupted",
            JobState.FAILED,
            None,
            "lost: the harness was interrupted",
        ),
    ],
)
def test_an_end_that_is_no_success(bench: Bench, body: str, state: JobState, code: int, words: str) -> None:
    bench.write(body.replace("$OUT", '"$OUT"'))
    job = bench.job("a.0")
    status = bench.run(job, job.steps[0])
    assert (status.state, status.exit_code) == (state, code)
    assert words in status.message


def test_a_step_runs_once_however_often_it_is_started(bench: Bench) -> None:
    bench.write('echo ran >>"$OUT/ran"; echo x >"$OUT/results.yml"; sleep 0.3')
    job = bench.job("a.0")
    both = [bench.start(job, job.steps[0]) for _ in range(3)]
    assert [process.wait(20) for process in both] == [0, 0, 0]
    assert (bench.root / "a.0" / "ran").read_text() == "ran\n"


def test_an_attempt_that_was_given_up_does_not_write_over_the_next_one(bench: Bench) -> None:
    bench.write('[ -e "$OUT/again" ] || { touch "$OUT/again"; exec sleep 60; }; echo x: 1 >$OUT/results.yml')
    first, step = bench.job("a.0"), Step("a.0", "a", Container(), "", "")
    process = bench.start(first, step)
    wait_closely((bench.root / "a.0" / "again").exists)
    second = replace(first, name=f"{first.name}-2")
    assert bench.run(second, step).state is JobState.COMPLETED
    process.terminate()
    process.wait(30)
    assert read_folder(bench.root / "a.0", second.name)["exit"].exit_code == 0


def test_steps_take_their_turn_without_anybody(bench: Bench) -> None:
    bench.write(
        'echo "start $OUT" >>"$OUT/../order.log"; sleep 0.2; echo "end $OUT" >>"$OUT/../order.log"\n'
        'echo x >"$OUT/results.yml"'
    )
    job = bench.job("a.0", "b.1", "c.2")
    started = [bench.start(job, step) for step in reversed(job.steps)]
    assert [process.wait(30) for process in started] == [0, 0, 0]
    words = [line.split()[0] for line in (bench.root / "order.log").read_text().splitlines()]
    assert words == ["start", "end"] * 3


@pytest.mark.slow
def test_timeout_ends_a_harness_that_ignores_term(bench: Bench) -> None:
    bench.write("trap '' TERM; sleep 60")
    job = bench.job("a.0")
    step = Step("a.0", "a", Container(), "", "", timeout=1)
    script = bench.script(job, step)
    script.write_text(script.read_text().replace(f"GRACE={GRACE_SECONDS}", "GRACE=1"))
    env = bench.env(job, step)
    assert subprocess.run([*bench.shell, str(script)], env=env, check=False, timeout=20).returncode == 124
    status = join(read_folder(bench.root / "a.0", job.name), GONE)
    assert (status.state, status.exit_code, status.message) == (JobState.FAILED, 124, "timed out after 1 s")


def sleeping(seconds: str) -> list[int]:
    """The processes that sleep for so long."""
    return [each.pid for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == ["sleep", seconds]]


def test_term_is_forwarded_and_leaves_nothing_behind(bench: Bench) -> None:
    bench.write('touch "$OUT/up"; setsid sleep 61.7 & sleep 61.7')
    job = bench.job("a.0")
    process = bench.start(job, job.steps[0])
    wait_closely((bench.root / "a.0" / "up").exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    assert stage_files.lost(join(read_folder(bench.root / "a.0", job.name), GONE)), "nobody said that it was meant"
    assert not sleeping("61.7")


def test_term_while_it_waits_for_its_turn(bench: Bench) -> None:
    job = bench.job("a.0", "b.1")
    process = bench.start(job, job.steps[1])
    wait_closely((bench.root / "b.1" / "stage.waiting").exists)
    assert join(read_folder(bench.root / "b.1", job.name), ALIVE).message == "waits for its turn"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    assert not (bench.root / "b.1" / "stage.running").exists()


def test_term_on_purpose_is_a_cancellation(bench: Bench) -> None:
    bench.write('touch "$OUT/up"; sleep 61.9')
    job = bench.job("a.0")
    process = bench.start(job, job.steps[0])
    wait_closely((bench.root / "a.0" / "up").exists)
    (bench.root / "a.0" / ".proctor" / f"cancel-{job.name}").touch()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    assert join(read_folder(bench.root / "a.0", job.name), GONE).state is JobState.CANCELLED


def test_a_dead_endpoint_is_told_before_the_harness_runs(bench: Bench) -> None:
    job = bench.job("a.0")
    step = Step("a.0", "a", Container(), "", "http://127.0.0.1:1/v1/chat/completions")
    assert bench.start(job, step, ready_timeout=1).wait(30) == 69
    status = join(read_folder(bench.root / "a.0", job.name), GONE)
    assert "http://127.0.0.1:1/v1/models" in status.message
    assert not (bench.root / "a.0" / "ran").exists()


def test_every_step_has_an_adapter_port_of_its_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADAPTER_PORT", raising=False)
    bench.write('echo "$ADAPTER_PORT" >$OUT/port; echo x: 1 >$OUT/results.yml')
    job = bench.job(*(f"b.{index}" for index in range(4)), max_parallel=4)
    for run in [bench.start(job, step) for step in job.steps]:
        run.wait(30)
    ports = {int((bench.root / step.name / "port").read_text()) for step in job.steps}
    assert len(ports) == 4
    assert all(10240 <= port < 30240 for port in ports)

    monkeypatch.setenv("ADAPTER_PORT", "4711")
    given = bench.job("given.0")
    bench.run(given, given.steps[0])
    assert (bench.root / "given.0" / "port").read_text() == "4711\n"


class Answers(BaseHTTPRequestHandler):
    """An endpoint that lists a model at /v1/models, and answers 404 to everything else."""

    listing = b'{"data": [{"id": "org\\/m\\u00fcll"}]}'

    def do_GET(self) -> None:
        known = self.path in {"/health", "/v1/models"}
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(self.listing if known else b"no such page")

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


PROBES = [tool for tool in ("curl", "python3", "wget") if shutil.which(tool)]
TOOLS = ("sh", "date", "mkdir", "mv", "rm", "sleep", "cat", "grep", "sed", "tail", "head", "dirname", "touch")


@pytest.fixture(params=PROBES)
def path_with_one_probe(request: pytest.FixtureRequest, bench: Bench) -> str:
    """A PATH like a slim image's, where only one tool can speak HTTP."""
    for tool in (*TOOLS, request.param):
        found = os.path.realpath(sys.executable) if tool == "python3" else shutil.which(tool)
        (bench.root / "bin" / tool).symlink_to(str(found))
    return str(bench.root / "bin")


@pytest.mark.parametrize("proxy", [None, "http://127.0.0.1:1"])
def test_any_answer_of_an_endpoint_will_do(
    bench: Bench, path_with_one_probe: str, port: int, proxy: str | None
) -> None:
    job = bench.job("a.0")
    step = Step("a.0", "a", Container(), "", f"http://127.0.0.1:{port}/not-there")
    shell = str(shutil.which(bench.shell[0]))
    bench.shell = [shell, *bench.shell[1:]]
    process = bench.start(job, step, 2, PATH=path_with_one_probe, **({"http_proxy": proxy} if proxy else {}))
    assert process.wait(30) == 0, join(read_folder(bench.root / "a.0", job.name), GONE)


@pytest.mark.parametrize(("model", "code"), [("org/müll", 0), ("mül", 69)])
def test_the_server_must_list_the_model_however_it_spells_it(bench: Bench, port: int, model: str, code: int) -> None:
    plain = bench.job("a.0")
    server = Server("generic", Container(), "", port, model, ready_timeout=1)
    job = JobSpec(plain.name, plain.evaluation, plain.output_dir, plain.steps, server)
    assert bench.start(job, job.steps[0]).wait(30) == code
    status = join(read_folder(bench.root / "a.0", job.name), GONE)
    assert (code == 0) or f"does not list the model {model}" in status.message


@pytest.mark.parametrize("command", ["echo up; sleep 0; exit 7", "cd / && X=1 sh -c 'exit 7'", "sh -c 'exit 7'"])
def test_a_server_may_be_any_shell_text(bench: Bench, command: str) -> None:
    job, server = bench.job(), Server("generic", Container(), command, 1, "m", pre_cmd="export A=1")
    script = bench.root / "server.sh"
    script.write_text(server_wrapper(job, server, str(bench.root)))
    assert subprocess.run([*bench.shell, str(script)], check=False, timeout=20).returncode == 7


def test_a_single_server_program_takes_the_place_of_the_shell() -> None:
    server = Server("vllm", Container(), "vllm serve 'a;b' --port 1", 1, "m", pre_cmd="export A=1")
    assert server_command(server) == "export A=1\nexec vllm serve 'a;b' --port 1"


def test_names_are_found_however_json_spells_them() -> None:
    assert '"a\\/\\u00fc"' in spellings("a/ü")
    assert '"a/ü"' in spellings("a/ü")


def test_a_folder_that_cannot_be_written_is_no_success(bench: Bench) -> None:
    job = bench.job("a.0")
    (bench.root / "a.0" / ".proctor").mkdir(parents=True)
    (bench.root / "a.0" / ".proctor" / f"claim-{job.name}").write_text("in the way")
    assert bench.start(job, job.steps[0]).wait(20) == 73


def test_what_a_harness_leaves_behind_is_ended_with_it(bench: Bench) -> None:
    bench.write('setsid sleep 62.3 & echo x >"$OUT/results.yml"')
    job = bench.job("a.0")
    assert bench.run(job, job.steps[0]).state is JobState.COMPLETED
    assert not sleeping("62.3")


LOST_STEP = StepStatus(JobState.FAILED, None, "lost: its processes are gone")
RUNNING_STEP = StepStatus(JobState.RUNNING)


@pytest.mark.parametrize(
    ("step", "server", "state", "code", "words"),
    [
        (RUNNING_STEP, "exit code 9", JobState.RUNNING, None, "server died: exit code 9"),
        (StepStatus(JobState.CANCELLED, 143, "cancelled"), "exit code 9", JobState.CANCELLED, 143, "cancelled"),
        (
            StepStatus(JobState.FAILED, None, "lost: interrupted by TERM"),
            "exit code 9",
            JobState.FAILED,
            69,
            "server died: exit code 9",
        ),
        (StepStatus(JobState.COMPLETED, 0), "exit code 9", JobState.COMPLETED, 0, ""),
        (StepStatus(JobState.FAILED, 69, "not ready"), "exit code 9", JobState.FAILED, 69, "not ready"),
        (
            StepStatus(JobState.FAILED, 69, "server died before it answered"),
            "out of memory",
            JobState.FAILED,
            69,
            "server died before it answered: out of memory",
        ),
        (LOST_STEP, "exit code 9", JobState.FAILED, 69, "server died: exit code 9"),
        (LOST_STEP, "lost: gone", JobState.FAILED, None, "lost: its processes are gone"),
    ],
)
def test_a_dead_server_is_the_reason(
    step: StepStatus, server: str, state: JobState, code: int | None, words: str
) -> None:
    status = after_server_death(step, server)
    assert (status.state, status.exit_code, status.message) == (state, code, words)


def test_pre_cmd_exports_reach_the_harness_and_post_cmd_runs(bench: Bench) -> None:
    bench.write('echo "$GREETING" >"$OUT/results.yml"')
    job = bench.job("a.0")
    folder = bench.root / "a.0"
    post = f'echo done >"{folder.name}.post"'
    step = Step("a.0", "a", Container(), "", "", pre_cmd="export GREETING='hello world'", post_cmd=f"cd /tmp; {post}")
    assert bench.start(job, step).wait(30) == 0
    assert (folder / "results.yml").read_text() == "hello world\n"
    assert Path("/tmp/a.0.post").read_text() == "done\n"
    Path("/tmp/a.0.post").unlink()


EXIT_0, EXIT_3, EXIT_143 = (
    ("exit", "2026-01-01T00:00:00Z 0 j"),
    ("exit", "x 3 j boom"),
    ("exit", "2026-01-01T00:00:00Z 143 j"),
)
CANCELLED_143 = ("exit", "2026-01-01T00:00:00Z 143 j cancelled")
RUNNING, STARTED = ("running", "2026-01-01T00:00:00Z j"), ("pre-start", "2026-01-01T00:00:00Z j")


@pytest.mark.parametrize(
    ("texts", "seen", "state", "code", "words"),
    [
        ([RUNNING, EXIT_0], ALIVE, JobState.COMPLETED, 0, ""),
        ([RUNNING, EXIT_0], Seen("ended", 137), JobState.COMPLETED, 0, ""),
        ([RUNNING, EXIT_0], UNSEEN, JobState.COMPLETED, 0, ""),
        ([RUNNING, EXIT_3], GONE, JobState.FAILED, 3, "boom"),
        ([RUNNING, EXIT_143], GONE, JobState.FAILED, None, "lost: "),
        ([RUNNING, CANCELLED_143], GONE, JobState.CANCELLED, 143, "cancelled"),
        ([("exit", "2026-01-01T00:00:00Z 0 other")], ALIVE, JobState.PENDING, None, ""),
        ([STARTED, RUNNING], ALIVE, JobState.RUNNING, None, ""),
        ([STARTED], ALIVE, JobState.PENDING, None, ""),
        ([], ALIVE, JobState.PENDING, None, ""),
        ([STARTED, RUNNING], Seen("ended", 137), JobState.FAILED, None, "lost: "),
        ([STARTED, RUNNING], Seen("ended", 137, "out of memory"), JobState.FAILED, 137, "out of memory"),
        ([STARTED], Seen("ended", 127), JobState.FAILED, 127, "127"),
        ([STARTED, RUNNING], GONE, JobState.FAILED, None, "lost: "),
        ([STARTED, RUNNING], UNSEEN, JobState.RUNNING, None, ""),
        ([], GONE, JobState.UNKNOWN, None, ""),
        ([], UNSEEN, JobState.UNKNOWN, None, ""),
    ],
)
def test_rule_table(texts: list[tuple[str, str]], seen: Seen, state: JobState, code: int | None, words: str) -> None:
    status = join(parse(dict(texts), "j"), seen)
    assert (status.state, status.exit_code) == (state, code)
    assert words in status.message
    assert stage_files.lost(status) == words.startswith("lost")


def test_models_are_listed_beside_the_route() -> None:
    assert models_url("http://h:1/v1/chat/completions") == "http://h:1/v1/models"
    assert models_url("http://h:1/custom") == "http://h:1/custom"


@pytest.mark.live
def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    path = Bench(tmp_path, ["dash"]).script(JobSpec("j", "0" * 8, "/o", ()), Step("a.0", "a", Container(), "", ""))
    check_with_shellcheck("step.sh", path.read_text(), tmp_path, "sh", "SC2034,SC2317", severity="style")
