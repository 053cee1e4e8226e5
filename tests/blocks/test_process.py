"""The process backend against the contract, and what is special about it."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from proctor.blocks.backend import Backend
from proctor.blocks.errors import RejectedError
from proctor.blocks.job import Container, EnvVar, JobHandle
from proctor.blocks.job_files import SERVER, step_files
from proctor.blocks.process import processes
from proctor.blocks.process.block import ProcessBackend
from proctor.blocks.process.environments import environment
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


class TestProcessBackend(RunningContract):
    @pytest.fixture
    def setup(self, tmp_path: Path) -> Iterator[Setup]:
        yield ProcessSetup(tmp_path)


def test_an_environment_is_built_once(tmp_path: Path) -> None:
    first = environment([str(HARNESS)], tmp_path)
    stamp = first.stat().st_mtime_ns
    assert environment([str(HARNESS)], tmp_path) == first
    assert first.stat().st_mtime_ns == stamp
    assert "fake-harness" in (first / "environment.txt").read_text()


def test_a_lock_file_holds_versions_and_hashes(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(f"idna==3.10 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(RejectedError, match=r"sha256:0{64}"):
        environment(["idna", str(lock)], tmp_path / "cache")


def test_nothing_but_the_lock_file_is_installed(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("jinja2==3.1.6\n")
    built = environment(["jinja2", str(lock)], tmp_path / "cache")
    assert (built / "environment.txt").read_text() == "jinja2==3.1.6\n"


def test_a_package_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(RejectedError, match="no-such-package-of-proctor"):
        environment(["no-such-package-of-proctor==1.0"], tmp_path)
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    setup = ProcessSetup(tmp_path)
    server = setup.server("fake-server {port}")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", server.port))
        taken.listen()
        job = setup.job(setup.step("a.0"), server=server)
        answer = setup.backend().submit([job])[job.name]
    assert isinstance(answer, RejectedError)
    assert str(server.port) in str(answer)
    assert setup.runs("a.0") == 0


def test_a_reused_pid_is_not_ours(tmp_path: Path) -> None:
    files = step_files(JobHandle("process", "j", "0" * 8, str(tmp_path)), "a.0")
    files.claim.mkdir(parents=True)
    (files.claim / "pid").write_text("1")
    assert not processes.alive(files.claim, step_marker("j", "a.0"))
