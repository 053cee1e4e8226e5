"""What every backend must do. Subclass `BackendContract`, give it a `setup` fixture, and pytest runs the suite.

    class TestMine(BackendContract):
        @pytest.fixture
        def setup(self, tmp_path): return MySetup(tmp_path)

A Setup makes backends and containers; the steps run the harness of tests/fake_harness, whose run config says in Python
what it does. Backends that run nothing (`runs_code = False`) are judged on what they report.
"""

import json
import os
import pickle
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest

from proctor.blocks.backend import Backend
from proctor.blocks.job import Container, EnvVar, JobHandle, JobSpec, JobState, JobStatus, Server, Step
from proctor.blocks.stage_files import lost
from tests.flows.stack import free_port
from tests.waiting import PATIENCE

WEIRD = 'it\'s $HOME; "two" `words`\n-- ünïcode\t*'


RESPONSE_CACHE = """
import sqlite3
(out / "cache/responses").mkdir(parents=True)
base = sqlite3.connect(out / "cache/responses/cache.db", isolation_level=None)
base.execute("pragma journal_mode = wal")
base.execute("create table Settings (key text not null unique, value)")
base.execute("insert into Settings values ('count', 7)")
"""
"""What a harness does that keeps its answers as the caching interceptor of NeMo Evaluator does, still in use."""


class Setup(ABC):
    """How a backend is made for the suite, and what is special about it."""

    runs_code = True
    serves_models = True
    """Whether its jobs may have a server; the tests with one are skipped otherwise."""
    results = ""
    """The output folder of a step as its harness sees it; empty when it is the folder itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "out put"
        self.made: list[JobHandle] = []

    @abstractmethod
    def backend(self) -> Backend:
        """A fresh backend object."""

    @abstractmethod
    def container(self, *env: EnvVar) -> Container:
        """An environment that holds tests/fake_harness."""

    @abstractmethod
    def leftovers(self, handle: JobHandle) -> list[str]:
        """What a job still holds on the machine: containers, processes, networks."""

    @abstractmethod
    def murder(self, handle: JobHandle, step: str) -> None:
        """Kill a step from outside, so that it cannot say a last word."""

    def close(self) -> None:
        """Clean up after a test."""
        if self.made:
            self.backend().cancel(self.made)

    def step(self, name: str, script: str = "", *env: EnvVar, timeout: float | None = None) -> Step:
        """A step whose harness runs this Python."""
        folder = self.results or str(self.folder / name)
        config = {"type": "fake", "output_dir": folder, "params": {"extra": {"script": script}}}
        return Step(name, f"fake.{name}", self.container(*env), json.dumps({"config": config}), "", timeout)

    def job(self, *steps: Step, max_parallel: int = 1, server: Server | None = None, attempt: int = 1) -> JobSpec:
        """A job with a name of its own."""
        evaluation = uuid4().hex[:8]
        name = f"proctor-{evaluation}-abcdef-0-{attempt}"
        return JobSpec(name, evaluation, str(self.folder), steps, server, max_parallel, attempt)

    def server(self, command: str, ready_timeout: float = 30) -> Server:
        """A server of tests/fake_harness; `{port}` in the command is its port."""
        if not self.serves_models:
            pytest.skip("this backend serves no models")
        port = free_port()
        return Server(
            "generic", self.container(), command.format(port=port), port, "fake-model", ready_timeout=ready_timeout
        )

    def submit(self, *jobs: JobSpec) -> list[JobHandle]:
        """Submit and expect handles."""
        answers = self.backend().submit(jobs)
        handles = []
        for job in jobs:
            answer = answers[job.name]
            assert isinstance(answer, JobHandle), answer
            handles.append(answer)
        self.made += handles
        return handles

    def status(self, handle: JobHandle) -> JobStatus:
        """One look, by an object that knows nothing yet."""
        return self.backend().poll([handle])[handle]

    def wait(self, handle: JobHandle, seconds: float = PATIENCE) -> JobStatus:
        """The status once the job is final."""
        return self.until(handle, lambda status: status.state.final, seconds)

    def until(self, handle: JobHandle, condition: Callable[[JobStatus], bool], seconds: float = PATIENCE) -> JobStatus:
        """The first status that fulfils a condition."""
        deadline = time.monotonic() + seconds
        while not condition(status := self.status(handle)):
            assert time.monotonic() < deadline, f"still {status}"
            time.sleep(0.2)
        return status

    def runs(self, step: str) -> int:
        """How often the harness of a step was started."""
        path = self.folder / step / "ran"
        return path.read_text().count("start") if path.exists() else 0


class Contract:
    """Where the tests get what they judge."""

    @pytest.fixture
    def setup(self, tmp_path: Path) -> Iterator[Setup]:
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def clean(self, setup: Setup) -> Iterator[None]:
        yield
        setup.close()


class BackendContract(Contract):
    """The suite."""

    def test_a_job_runs_and_answers_by_name(self, setup: Setup) -> None:
        job = setup.job(setup.step("a.0"), setup.step("b.1"))
        (handle,) = setup.submit(job)
        status = setup.wait(handle)
        assert handle.name == job.name
        assert status.state is JobState.COMPLETED
        assert {name: step.exit_code for name, step in status.steps.items()} == {"a.0": 0, "b.1": 0}
        assert status.observed

    def test_handles_survive_json(self, setup: Setup) -> None:
        (handle,) = setup.submit(setup.job(setup.step("a.0")))
        again = JobHandle.from_json(json.loads(json.dumps(handle.to_json())))
        assert setup.wait(again).state is JobState.COMPLETED

    def test_every_handle_is_answered_and_an_unknown_one_is_unknown(self, setup: Setup) -> None:
        handles = setup.submit(setup.job(setup.step("a.0")), setup.job(setup.step("b.0")))
        stranger = JobHandle(handles[0].backend, "proctor-00000000-abcdef-0-1", "0" * 8, str(setup.folder), ("z.0",))
        answers = setup.backend().poll([handles[0], stranger, handles[1]])
        assert set(answers) == {*handles, stranger}
        assert answers[stranger].state is JobState.UNKNOWN

    def test_submitting_again_runs_nothing_twice(self, setup: Setup) -> None:
        job = setup.job(setup.step("a.0", "time.sleep(0.3)"), setup.step("b.1"))
        first = setup.submit(job)
        assert setup.submit(job) == first
        setup.wait(first[0])
        assert setup.submit(job) == first
        assert setup.wait(first[0]).state is JobState.COMPLETED
        if setup.runs_code:
            assert (setup.runs("a.0"), setup.runs("b.1")) == (1, 1)

    def test_steps_keep_their_order(self, setup: Setup) -> None:
        (handle,) = setup.submit(setup.job(*(setup.step(f"s.{index}", "time.sleep(0.1)") for index in range(3))))
        spans = self.spans(setup, handle)
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))

    def test_max_parallel_is_kept_and_used(self, setup: Setup) -> None:
        steps = [setup.step(f"s.{index}", "time.sleep(6)") for index in range(4)]
        (handle,) = setup.submit(setup.job(*steps, max_parallel=2))
        spans = self.spans(setup, handle)
        running = [sum(start <= moment < end for start, end in spans) for moment, _ in spans]
        assert max(running) == 2, spans

    def spans(self, setup: Setup, handle: JobHandle) -> list[tuple[float, float]]:
        """Start and end of each step's harness."""
        status = setup.wait(handle)
        if setup.runs_code:
            texts = [(setup.folder / name / "ran").read_text().split() for name in handle.steps]
            return [(float(text[0]), float(text[2])) for text in texts]
        times = [status.steps[name] for name in handle.steps]
        return [(time.started.timestamp(), time.ended.timestamp()) for time in times if time.started and time.ended]

    def test_cancel_leaves_nothing_and_can_be_repeated(self, setup: Setup) -> None:
        (handle,) = setup.submit(setup.job(setup.step("a.0", "time.sleep(60)"), setup.step("b.1", "time.sleep(60)")))
        setup.until(handle, lambda status: status.steps["a.0"].state is JobState.RUNNING)
        started = time.monotonic()
        for _ in range(2):
            status = setup.backend().cancel([handle])[handle]
            assert {step.state for step in status.steps.values()} == {JobState.CANCELLED}
        assert time.monotonic() - started < 30
        assert setup.leftovers(handle) == []

    def test_one_step_alone_is_cancelled(self, setup: Setup) -> None:
        (handle,) = setup.submit(setup.job(setup.step("a.0", "time.sleep(60)"), setup.step("b.1")))
        setup.until(handle, lambda status: status.steps["a.0"].state is JobState.RUNNING)
        setup.backend().cancel([handle], "a.0")
        status = setup.wait(handle)
        assert status.steps["a.0"].state is JobState.CANCELLED
        assert status.steps["b.1"].state is JobState.COMPLETED

    def test_fetch_brings_the_folder_and_its_log(self, setup: Setup, tmp_path: Path) -> None:
        (handle,) = setup.submit(setup.job(setup.step("a.0", "print('hello from the harness')")))
        setup.wait(handle)
        for _ in range(2):
            folder = setup.backend().fetch(handle, "a.0", tmp_path / "fetched")
            assert folder == tmp_path / "fetched" / "a.0"
            assert (folder / "results.yml").stat().st_size > 0
            assert (folder / "harness.log").exists()
        if setup.runs_code:
            assert "hello from the harness" in (folder / "harness.log").read_text()

    def test_logs_end_when_the_step_ends(self, setup: Setup) -> None:
        script = "print('one', flush=True); time.sleep(0.5); print('two', flush=True)"
        (handle,) = setup.submit(setup.job(setup.step("a.0", script)))
        lines = list(setup.backend().logs(handle, "a.0", follow=True, tail=10))
        if setup.runs_code:
            assert [line for line in lines if line in {"one", "two"}] == ["one", "two"]
        assert list(setup.backend().logs(handle, "a.0", follow=False, tail=1))

    def test_render_shows_every_step_and_no_secret(self, setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CANARY", "canary-4711")
        step = setup.step("a.0", "", EnvVar("TOKEN", "host", "CANARY"))
        text = setup.backend().render(setup.job(step, setup.step("b.1")))
        assert "a.0" in text
        assert "b.1" in text
        assert "canary-4711" not in text


class ServerContract(Contract):
    """What a backend must do whose jobs have a server."""

    def test_one_server_serves_every_step_and_is_released(self, setup: Setup) -> None:
        ask = (
            "import urllib.request, json; url = 'http://127.0.0.1:%d/v1/models' % document['port'];"
            "assert json.load(urllib.request.urlopen(url))['data'][0]['id'] == 'fake-model'"
        )
        server = setup.server("fake-server {port} 1")
        steps = [setup.step(f"s.{index}", ask.replace("document['port']", str(server.port))) for index in range(2)]
        (handle,) = setup.submit(setup.job(*steps, server=server))
        status = setup.wait(handle)
        assert status.state is JobState.COMPLETED, status
        assert status.server
        assert status.server.state is JobState.RUNNING
        assert json.loads((setup.folder / "s.0" / "server-models.json").read_text())["data"][0]["id"] == "fake-model"
        setup.backend().cancel([handle])
        assert setup.leftovers(handle) == []

    def test_cancelling_ends_the_server_too_and_is_not_taken_for_its_death(self, setup: Setup) -> None:
        server = setup.server("fake-server {port}")
        steps = [setup.step("a.0"), setup.step("b.1", "time.sleep(60)"), setup.step("c.2")]
        (handle,) = setup.submit(setup.job(*steps, server=server))
        setup.until(handle, lambda status: status.steps["b.1"].state is JobState.RUNNING)
        for _ in range(2):
            status = setup.backend().cancel([handle])[handle]
            found = {name: step.state for name, step in status.steps.items()}
            expected = {"a.0": JobState.COMPLETED, "b.1": JobState.CANCELLED, "c.2": JobState.CANCELLED}
            assert found == expected, status
        assert setup.leftovers(handle) == []

    def test_a_server_that_never_answers_is_told_in_time(self, setup: Setup) -> None:
        server = setup.server("fake-server {port} 60", ready_timeout=2)
        (handle,) = setup.submit(setup.job(setup.step("a.0"), server=server))
        status = setup.wait(handle).steps["a.0"]
        assert (status.state, status.exit_code) == (JobState.FAILED, 69)
        assert "server did not answer within 2 s" in status.message
        assert setup.runs("a.0") == 0

    def test_a_server_that_dies_is_the_reason(self, setup: Setup) -> None:
        server = setup.server("fake-server {port} 0 4")
        (handle,) = setup.submit(setup.job(setup.step("a.0", "time.sleep(60)"), server=server))
        status = setup.wait(handle)
        assert status.steps["a.0"].state is JobState.FAILED
        assert "server died" in status.steps["a.0"].message
        assert status.server
        assert status.server.state is JobState.FAILED
        assert "fake server is up" in status.server.log_tail

    def test_a_server_that_cannot_start_fails_fast_with_its_words(self, setup: Setup) -> None:
        server = setup.server("sh -c 'echo no such model >&2; exit 4'", ready_timeout=3600)
        (handle,) = setup.submit(setup.job(setup.step("a.0"), setup.step("b.1"), server=server))
        status = setup.wait(handle)
        assert {step.state for step in status.steps.values()} == {JobState.FAILED}
        assert status.server
        assert "no such model" in status.server.log_tail
        assert "did not answer within" not in status.steps["a.0"].message, "long before its time is up"


class RunningContract(BackendContract, ServerContract):
    """What a backend that really runs code must do besides."""

    @pytest.mark.parametrize(
        ("script", "state", "code", "words"),
        [
            ("sys.exit(3)", JobState.FAILED, 3, "exit code 3"),
            ("os._exit(0)", JobState.FAILED, 65, "no results.yml"),
            (
                "(out / '.nemo_evaluator_interrupted').write_text('{}')",
                JobState.FAILED,
                None,
                "lost: the harness was interrupted",
            ),
        ],
    )
    def test_a_bad_end_is_told(self, setup: Setup, script: str, state: JobState, code: int, words: str) -> None:
        (handle,) = setup.submit(setup.job(setup.step("a.0", script), setup.step("b.1")))
        status = setup.wait(handle)
        assert (status.steps["a.0"].state, status.steps["a.0"].exit_code) == (state, code)
        assert words in status.steps["a.0"].message
        assert status.steps["b.1"].state is JobState.COMPLETED
        assert status.state is state

    def test_a_benchmark_has_a_clock_of_its_own(self, setup: Setup) -> None:
        (handle,) = setup.submit(setup.job(setup.step("a.0", "time.sleep(60)", timeout=1), setup.step("b.1")))
        status = setup.wait(handle)
        assert (status.steps["a.0"].state, status.steps["a.0"].exit_code) == (JobState.FAILED, 124)
        assert status.steps["b.1"].state is JobState.COMPLETED

    def test_answered_requests_are_counted_while_it_runs(self, setup: Setup) -> None:
        (handle,) = setup.submit(setup.job(setup.step("a.0", f"{RESPONSE_CACHE}\ntime.sleep(60)")))
        status = setup.until(handle, lambda status: status.steps["a.0"].requests is not None)
        assert (status.steps["a.0"].state, status.steps["a.0"].requests) == (JobState.RUNNING, 7)

    def test_a_murdered_step_is_lost_and_its_next_attempt_runs(self, setup: Setup) -> None:
        script = "(out / 'again').exists() or ((out / 'again').write_text(''), time.sleep(60))"
        job = setup.job(setup.step("a.0", script), setup.step("b.1"))
        (handle,) = setup.submit(job)
        setup.until(handle, lambda _: (setup.folder / "a.0" / "again").exists())
        setup.murder(handle, "a.0")
        status = setup.wait(handle)
        assert lost(status.steps["a.0"]), status
        assert status.steps["b.1"].state is JobState.COMPLETED, "the next in line is not held up"
        second = JobSpec(job.name[:-1] + "2", job.evaluation, job.output_dir, job.steps[:1], attempt=2)
        (handle,) = setup.submit(second)
        assert setup.wait(handle).state is JobState.COMPLETED
        assert setup.runs("a.0") == 2

    def test_a_step_that_was_killed_while_it_is_cancelled_is_no_lost_one(self, setup: Setup) -> None:
        (handle,) = setup.submit(setup.job(setup.step("a.0", "time.sleep(60)"), setup.step("b.1", "time.sleep(60)")))
        setup.until(handle, lambda status: status.steps["a.0"].state is JobState.RUNNING)
        setup.murder(handle, "a.0")
        status = setup.backend().cancel([handle])[handle]
        assert {step.state for step in status.steps.values()} == {JobState.CANCELLED}, status

    def test_jobs_outlive_the_process_that_submitted_them(self, setup: Setup) -> None:
        job = setup.job(setup.step("a.0", "time.sleep(0.5)"), setup.step("b.1"))
        code = (
            "import os, pickle, sys; backend, job = pickle.loads(sys.stdin.buffer.read());"
            "backend.submit([job]); os.kill(os.getpid(), 9)"
        )
        subprocess.run([sys.executable, "-c", code], input=pickle.dumps((setup.backend(), job)), check=False)
        (handle,) = setup.submit(job)
        assert setup.wait(handle).state is JobState.COMPLETED
        assert (setup.runs("a.0"), setup.runs("b.1")) == (1, 1)

    @pytest.mark.parametrize("delay", [0.02, 0.1, 0.3])
    def test_a_submitter_killed_in_between_is_no_loss_and_no_double(self, setup: Setup, delay: float) -> None:
        (warm,) = setup.submit(setup.job(setup.step("warm.0")))
        job = setup.job(*(setup.step(f"s.{index}") for index in range(4)), max_parallel=4)
        code = (  # the clock starts once everything is imported and the backend was reached
            "import os, pickle, sys, threading, time; backend, job, warm = pickle.loads(sys.stdin.buffer.read());"
            f"backend.poll([warm]); threading.Timer({delay}, lambda: os.kill(os.getpid(), 9)).start();"
            "backend.submit([job]); time.sleep(5)"
        )
        dying = subprocess.run(
            [sys.executable, "-c", code], input=pickle.dumps((setup.backend(), job, warm)), check=False
        )
        assert dying.returncode == -9
        (handle,) = setup.submit(job)
        assert setup.wait(handle).state is JobState.COMPLETED
        assert [setup.runs(step.name) for step in job.steps] == [1, 1, 1, 1]

    def test_three_submitters_at_once_start_every_step_once(self, setup: Setup) -> None:
        job = setup.job(*(setup.step(f"s.{index}", "time.sleep(0.3)") for index in range(3)), max_parallel=2)
        code = (
            "import pickle, sys; backend, job = pickle.loads(sys.stdin.buffer.read()); sys.stdin.close();"
            "answer = backend.submit([job])[job.name]; sys.exit(0 if hasattr(answer, 'steps') else str(answer))"
        )
        both = [subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) for _ in range(3)]
        for process in both:
            assert process.stdin
            process.stdin.write(pickle.dumps((setup.backend(), job)))
            process.stdin.close()
        assert [process.wait(PATIENCE) for process in both] == [0, 0, 0]
        (handle,) = setup.submit(job)
        assert setup.wait(handle).state is JobState.COMPLETED
        assert [setup.runs(step.name) for step in job.steps] == [1, 1, 1]

    def test_values_arrive_as_they_are_and_secrets_stay_out_of_files(
        self, setup: Setup, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CANARY", "canary-4711")
        script = "(out / 'seen').write_text(os.environ['WEIRD']); assert os.environ['TOKEN'] == 'canary-%d' % 4711;"
        script += "argv = os.popen(\"cat /proc/[0-9]*/cmdline 2>/dev/null | tr -dc '[:print:]'\").read();"
        script += "assert 'python' in argv and 'canary-%d' % 4711 not in argv"
        step = setup.step("a.0", script, EnvVar("WEIRD", "lit", WEIRD), EnvVar("TOKEN", "host", "CANARY"))
        (handle,) = setup.submit(setup.job(step))
        assert setup.wait(handle).state is JobState.COMPLETED, (setup.folder / "a.0" / "harness.log").read_text()
        assert (setup.folder / "a.0" / "seen").read_text() == WEIRD
        files = [path for path in setup.folder.rglob("*") if path.is_file()]
        assert not [path for path in files if b"canary-4711" in path.read_bytes()]

    def test_results_are_ours_and_nobody_else_may_write_them(self, setup: Setup, tmp_path: Path) -> None:
        (handle,) = setup.submit(setup.job(setup.step("a.0", "(out / 'sub').mkdir(); (out / 'sub/more').touch()")))
        setup.wait(handle)
        folder = setup.backend().fetch(handle, "a.0", tmp_path / "fetched")
        assert (folder / "sub/more").exists()
        left = [folder, *folder.rglob("*")]
        assert {path.stat().st_uid for path in left} == {os.getuid()}
        assert not [path for path in left if path.stat().st_mode & 0o022]

    def test_a_missing_variable_refuses_its_job_and_no_other(self, setup: Setup) -> None:
        bad = setup.job(setup.step("a.0", "", EnvVar("TOKEN", "host", "NOT_SET_ANYWHERE")))
        good = setup.job(setup.step("b.0"))
        answers = setup.backend().submit([bad, good])
        assert "TOKEN" in str(answers[bad.name])
        handle = answers[good.name]
        assert isinstance(handle, JobHandle)
        setup.made.append(handle)
        assert setup.wait(handle).state is JobState.COMPLETED
