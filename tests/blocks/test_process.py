"""The process backend against the contract, and what is special about it."""

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from proctor.blocks.backend import Backend
from proctor.blocks.errors import RejectedError
from proctor.blocks.job import Container, EnvVar, JobHandle, JobState
from proctor.blocks.job_files import SERVER, step_files
from proctor.blocks.log_tail import follow
from proctor.blocks.process import processes
from proctor.blocks.process.block import ProcessBackend
from proctor.blocks.process.environments import environment
from proctor.blocks.stage_files import lost
from proctor.blocks.stages import step_marker
from proctor.configs.execution_schema import ProcessExecution
from tests.contract import RunningContract, Setup

HARNESS = Path(__file__).parent.parent / "fake_harness"


class ProcessSetup(Setup):
    """Local processes in an environment that holds the fake harness."""

    def backend(self) -> Backend:
        return ProcessBackend(execution=ProcessExecution(endpoint_readiness_timeout=30))

    def container(self, *env: EnvVar) -> Container:
        return Container(packages=(str(HARNESS),), env=env)

    def leftovers(self, handle: JobHandle) -> list[str]:
        markers = [step_marker(handle.name, name) for name in (*handle.steps, SERVER)]
        return [str(process) for found in processes.marked(markers).values() for process in found]

    def murder(self, handle: JobHandle, step: str) -> None:
        marker = step_marker(handle.name, step)
        processes.signal_all(processes.marked([marker])[marker], kill=True)


@pytest.mark.live
class TestProcessBackend(RunningContract):
    @pytest.fixture
    def setup(self, tmp_path: Path) -> Iterator[Setup]:
        yield ProcessSetup(tmp_path)


@pytest.mark.live
def test_an_environment_is_built_once(tmp_path: Path) -> None:
    first = environment([str(HARNESS)], tmp_path)
    stamp = first.stat().st_mtime_ns
    assert environment([str(HARNESS)], tmp_path) == first
    assert first.stat().st_mtime_ns == stamp
    assert "fake-harness" in (first / "environment.txt").read_text()


@pytest.mark.live
def test_a_lock_file_holds_versions_and_hashes(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(f"idna==3.10 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(RejectedError, match=r"sha256:0{64}"):
        environment(["idna", str(lock)], tmp_path / "cache")


@pytest.mark.live
def test_nothing_but_the_lock_file_is_installed(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("jinja2==3.1.6\n")
    built = environment(["jinja2", str(lock)], tmp_path / "cache")
    assert (built / "environment.txt").read_text() == "jinja2==3.1.6\n"


@pytest.mark.live
def test_a_package_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(RejectedError, match="no-such-package-of-proctor"):
        environment(["no-such-package-of-proctor==1.0"], tmp_path)
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]


@pytest.mark.live
def test_a_taken_port_is_told(tmp_path: Path) -> None:
    setup = ProcessSetup(tmp_path)
    server = setup.server("fake-server {port}")
    with socket.create_server(("127.0.0.1", server.port)):
        job = setup.job(setup.step("a.0"), server=server)
        answer = setup.backend().submit([job])[job.name]
    assert isinstance(answer, RejectedError)
    assert str(server.port) in str(answer)
    assert setup.runs("a.0") == 0


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[ProcessSetup]:
    setup = ProcessSetup(tmp_path)
    yield setup
    setup.close()


@pytest.mark.live
def test_what_runs_is_adopted_although_its_variables_are_gone(
    setup: ProcessSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN_OF_OURS", "x")
    job = setup.job(setup.step("a.0", "time.sleep(5)", EnvVar("TOKEN", "host", "TOKEN_OF_OURS")))
    (handle,) = setup.submit(job)
    setup.until(handle, lambda status: status.steps["a.0"].state is JobState.RUNNING)
    monkeypatch.delenv("TOKEN_OF_OURS")
    assert setup.submit(job) == [handle]
    assert setup.wait(handle).state is JobState.COMPLETED


@pytest.mark.live
def test_a_step_without_its_environment_fails_alone(setup: ProcessSetup) -> None:
    bad = replace(setup.step("a.0"), container=Container(packages=("no-such-package-of-proctor==1.0",)))
    job = setup.job(bad, setup.step("b.1"))
    (handle,) = setup.submit(job)
    steps = setup.wait(handle).steps
    assert (steps["a.0"].state, steps["a.0"].exit_code) == (JobState.FAILED, 126)
    assert "no-such-package-of-proctor" in steps["a.0"].message
    assert steps["b.1"].state is JobState.COMPLETED
    answer = setup.backend().submit([setup.job(bad)]).popitem()[1]
    assert isinstance(answer, RejectedError)


def test_a_folder_that_cannot_be_made_is_told(setup: ProcessSetup) -> None:
    setup.folder.write_text("a file is in the way")
    job = setup.job(setup.step("a.0"))
    answer = setup.backend().submit([job])[job.name]
    assert isinstance(answer, RejectedError)
    assert str(setup.folder) in str(answer)


@pytest.mark.live
def test_a_variable_of_the_job_s_machine_must_be_there(setup: ProcessSetup) -> None:
    job = setup.job(setup.step("a.0", "", EnvVar("TOKEN", "runtime", "NOT_SET_ANYWHERE")))
    assert "env_vars.TOKEN" in str(setup.backend().submit([job])[job.name])


def test_a_wrapper_killed_before_its_first_word_is_lost(setup: ProcessSetup) -> None:
    job = setup.job(setup.step("a.0"))
    files = step_files(job, "a.0")
    files.claim.mkdir(parents=True)
    (handle,) = setup.submit(job)
    assert setup.status(handle).state is JobState.UNKNOWN
    os.utime(files.claim, (1, 1))
    assert lost(setup.status(handle).steps["a.0"])


def test_an_unfinished_line_is_followed_as_one(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("one\ntw")
    ends = iter([False, True])

    def ended() -> bool:
        with log.open("a") as file:
            file.write("o\nthree")
        return next(ends)

    assert list(follow(log, 5, ended)) == ["one", "two", "threeo", "three"]


def test_a_reused_pid_is_not_ours(tmp_path: Path) -> None:
    files = step_files(JobHandle("process", "j", "0" * 8, str(tmp_path)), "a.0")
    files.claim.mkdir(parents=True)
    (files.claim / "pid").write_text("1")
    assert not processes.alive(files.claim, step_marker("j", "a.0"))
