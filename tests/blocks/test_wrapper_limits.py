"""The step wrapper's clock over post_cmd, and endpoints behind gateways; run for real under every shell of this machine."""

import shlex
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from proctor.blocks.job import Container, JobState, Step, StepStatus
from proctor.blocks.stage_files import GONE, join, read_folder
from proctor.blocks.stages import GRACE_SECONDS
from tests.blocks.test_stages import Bench, bench, shell
from tests.waiting import wait_closely

pytestmark = pytest.mark.slow

__all__ = ["bench", "shell"]


def run(bench: Bench, step: Step, grace: int = 2, ready_timeout: float = 5) -> StepStatus:
    """How a step ends whose grace is short."""
    job = bench.job(step.name)
    started(bench, step, job.name, grace, ready_timeout).wait(40)
    return join(read_folder(bench.root / step.name, job.name), GONE)


def started(bench: Bench, step: Step, name: str, grace: int, ready_timeout: float = 5) -> subprocess.Popen[bytes]:
    job = bench.job(step.name)
    script = bench.script(job, step, ready_timeout)
    script.write_text(script.read_text().replace(f"GRACE={GRACE_SECONDS}", f"GRACE={grace}").replace(job.name, name))
    return subprocess.Popen([*bench.shell, str(script)], env=bench.env(job, step), start_new_session=True)


def test_a_post_cmd_that_hangs_is_ended_by_the_limit_and_the_scores_stay(bench: Bench) -> None:
    began = time.monotonic()
    step = Step("a.0", "a", Container(), "", "", timeout=3, post_cmd="trap '' TERM; sleep 300")
    status = run(bench, step)
    assert time.monotonic() - began < 20
    assert (status.state, status.exit_code) == (JobState.COMPLETED, 0)


def test_a_harness_that_timed_out_leaves_its_post_cmd_some_time(bench: Bench) -> None:
    bench.write("exec sleep 60")
    mark = bench.root / "mark"
    step = Step("a.0", "a", Container(), "", "", timeout=1, post_cmd=f"touch {shlex.quote(str(mark))}; sleep 300")
    began = time.monotonic()
    status = run(bench, step)
    assert time.monotonic() - began < 20
    assert (status.exit_code, status.message) == (124, "timed out after 1 s")
    assert mark.exists()


def test_a_step_that_is_told_to_end_in_its_post_cmd_ends_in_its_grace(bench: Bench) -> None:
    mark = bench.root / "mark"
    step = Step("a.0", "a", Container(), "", "", post_cmd=f"trap '' TERM; touch {shlex.quote(str(mark))}; sleep 300")
    process = started(bench, step, "proctor-of-a-test", 2)
    wait_closely(mark.exists)
    began = time.monotonic()
    process.terminate()
    assert process.wait(30) == 143
    assert time.monotonic() - began < 15


def test_half_a_second_is_a_limit_too(bench: Bench) -> None:
    bench.write("sleep 0.2; echo x: 1 >$OUT/results.yml")
    half = Step("a.0", "a", Container(), "", "", timeout=0.6)
    assert "TIMEOUT=1\n" in bench.script(bench.job("a.0"), half).read_text(), "rounded down it would be none"
    assert run(bench, replace(half, timeout=60.6)).state is JobState.COMPLETED


class Gateway(BaseHTTPRequestHandler):
    """Says 503 (or what it is told) three times, until its server is there."""

    answers: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        self.send_response(self.answers.pop(0) if self.answers else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def gateway() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/chat/completions"
        server.shutdown()


def test_a_gateway_without_its_server_is_waited_for(bench: Bench, gateway: str) -> None:
    Gateway.answers = [502, 503, 504]
    step = Step("a.0", "a", Container(), "", gateway)
    assert run(bench, step, ready_timeout=60).state is JobState.COMPLETED
    assert not Gateway.answers


def test_a_gateway_whose_server_never_comes_is_told(bench: Bench, gateway: str) -> None:
    Gateway.answers = [503] * 100
    status = run(bench, Step("a.0", "a", Container(), "", gateway))
    assert (status.state, status.exit_code) == (JobState.FAILED, 69)
    assert "/v1/models answers 503" in status.message
    assert not Path(bench.root / "a.0" / "ran").exists()


@pytest.mark.parametrize("answer", [200, 401, 404, 501])
def test_any_other_answer_is_an_answer(bench: Bench, gateway: str, answer: int) -> None:
    Gateway.answers = [answer, *[503] * 100]
    assert run(bench, Step("a.0", "a", Container(), "", gateway)).state is JobState.COMPLETED
