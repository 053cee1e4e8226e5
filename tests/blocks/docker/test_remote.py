"""An engine that does not see this machine's folders: files travel by its API, and the rest is the same."""

import os
import shutil
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from proctor.blocks.job import JobHandle, JobSpec, JobState
from proctor.blocks.stage_files import lost
from tests.blocks.docker.test_block import DockerSetup
from tests.cluster import SSH_PORT, SSHD, USER
from tests.contract import RESPONSE_CACHE
from tests.engine import engine

pytestmark = pytest.mark.live


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[DockerSetup]:
    made = DockerSetup(tmp_path, shares_files=False)
    yield made
    made.close()


@pytest.fixture
def over_ssh(tmp_path: Path, undisturbed: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerSetup]:
    """The engine behind the real sshd of the test cluster; docker-py runs the real `ssh`, which reads our config file."""
    (tmp_path / "bin").mkdir()
    client = tmp_path / "bin" / "ssh"
    client.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {SSHD}/ssh_config "$@"\n')
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{client.parent}:{os.environ['PATH']}")
    made = DockerSetup(tmp_path, docker_host=f"ssh://{USER}@cluster:{SSH_PORT}")
    yield made
    made.close()


class Forward(socketserver.BaseRequestHandler):
    """One connection to the engine's socket on this machine."""

    def handle(self) -> None:
        there = socket.socket(socket.AF_UNIX)
        there.connect("/var/run/docker.sock")
        back = threading.Thread(target=pump, args=(there, self.request), daemon=True)
        back.start()
        pump(self.request, there)
        back.join()


def pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def over_tcp(tmp_path: Path) -> Iterator[DockerSetup]:
    """The engine at a TCP port; it has this machine's name, so it sees this machine's folders."""
    engine()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Forward) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made = DockerSetup(tmp_path, docker_host=f"tcp://127.0.0.1:{server.server_address[1]}")
        yield made
        made.close()
        server.shutdown()


def test_an_engine_over_tcp(over_tcp: DockerSetup) -> None:
    (handle,) = over_tcp.submit(over_tcp.job(over_tcp.step("a.0"), over_tcp.step("b.1")))
    assert over_tcp.wait(handle).state is JobState.COMPLETED
    assert (over_tcp.folder / "b.1" / "results.yml").exists()
    over_tcp.backend().cancel([handle])
    assert over_tcp.leftovers(handle) == []
    assert volumes(handle) == []


def test_an_engine_over_ssh(over_ssh: DockerSetup, tmp_path: Path) -> None:
    (handle,) = over_ssh.submit(over_ssh.job(over_ssh.step("a.0", "print('hello')"), over_ssh.step("b.1")))
    assert over_ssh.wait(handle).state is JobState.COMPLETED
    folder = over_ssh.backend().fetch(handle, "a.0", tmp_path / "fetched")
    assert (folder / "results.yml").exists()
    assert "hello" in (folder / "harness.log").read_text()
    over_ssh.backend().cancel([handle])
    assert over_ssh.leftovers(handle) == []
    assert volumes(handle) == []


def volumes(handle: JobHandle) -> list[str]:
    names = [each.name for each in engine().volumes.list()]
    return [name for name in names if handle.evaluation in name]


def test_steps_take_their_turn_and_their_results_come_home(setup: DockerSetup, tmp_path: Path) -> None:
    job = setup.job(setup.step("a.0", "print('hello'); time.sleep(0.3)"), setup.step("b.1", "(out / 'sub').mkdir()"))
    (handle,) = setup.submit(job)
    assert setup.submit(job) == [handle]
    status = setup.wait(handle)
    assert status.state is JobState.COMPLETED
    spans = [(status.steps[name].started, status.steps[name].ended) for name in handle.steps]
    assert spans[0][1] is not None
    assert spans[1][0] is not None
    assert spans[0][1] <= spans[1][0]
    for name in handle.steps:
        folder = setup.backend().fetch(handle, name, tmp_path / "fetched")
        assert (folder / "results.yml").exists()
        assert (folder / "ran").read_text().count("start") == 1
    assert "hello" in (tmp_path / "fetched" / "a.0" / "harness.log").read_text()
    setup.backend().cancel([handle])
    assert setup.leftovers(handle) == []
    assert volumes(handle) == []


def test_answered_requests_are_counted_where_the_harness_writes(setup: DockerSetup) -> None:
    (handle,) = setup.submit(setup.job(setup.step("a.0", f"{RESPONSE_CACHE}\ntime.sleep(60)")))
    status = setup.until(handle, lambda status: status.steps["a.0"].requests is not None)
    assert (status.steps["a.0"].state, status.steps["a.0"].requests) == (JobState.RUNNING, 7)
    assert not (setup.folder / "a.0" / "cache").exists(), "the database stays where it is"


def test_cancel_leaves_nothing_there(setup: DockerSetup) -> None:
    (handle,) = setup.submit(setup.job(setup.step("a.0", "time.sleep(60)"), setup.step("b.1")))
    setup.until(handle, lambda status: status.steps["a.0"].state is JobState.RUNNING)
    status = setup.backend().cancel([handle])[handle]
    assert {step.state for step in status.steps.values()} == {JobState.CANCELLED}
    assert setup.leftovers(handle) == []
    assert volumes(handle) == []


def test_cancelling_one_step_there_says_nothing_about_the_others(setup: DockerSetup) -> None:
    steps = [setup.step(name, "time.sleep(60)") for name in ("a.0", "b.1")]
    (handle,) = setup.submit(setup.job(*steps, max_parallel=2))
    setup.until(handle, lambda status: all(step.state is JobState.RUNNING for step in status.steps.values()))
    setup.backend().cancel([handle], "a.0")
    engine().containers.get(f"{handle.name}-b.1").stop()
    status = setup.wait(handle)
    assert status.steps["a.0"].state is JobState.CANCELLED
    assert lost(status.steps["b.1"]), "somebody stopped it, which nobody here meant"


def test_another_user_inside_writes_its_results_there(tmp_path: Path) -> None:
    setup = DockerSetup(tmp_path, shares_files=False, user="1234:1234")
    (handle,) = setup.submit(setup.job(setup.step("a.0", "assert os.getuid() == 1234")))
    status = setup.wait(handle)
    folder = setup.backend().fetch(handle, "a.0", tmp_path / "fetched")
    setup.close()
    assert status.state is JobState.COMPLETED, status
    assert (folder / "results.yml").exists()


def test_a_lost_step_is_started_again_with_what_it_had(setup: DockerSetup) -> None:
    script = "(out / 'cache').exists() or ((out / 'cache').write_text('x'), time.sleep(60))"
    job = setup.job(setup.step("a.0", script))
    (handle,) = setup.submit(job)
    setup.until(handle, lambda status: status.steps["a.0"].state is JobState.RUNNING)
    container = engine().containers.get(f"{handle.name}-a.0")
    while container.exec_run(["test", "-e", "/results/cache"]).exit_code != 0:
        time.sleep(0.1)
    setup.murder(handle, "a.0")
    assert lost(setup.wait(handle).steps["a.0"])
    setup.backend().fetch(handle, "a.0", setup.folder)
    (again,) = setup.submit(JobSpec(job.name[:-1] + "2", job.evaluation, job.output_dir, job.steps, attempt=2))
    assert setup.wait(again).state is JobState.COMPLETED


def test_a_server_is_shared_there_too(setup: DockerSetup) -> None:
    server = setup.server("fake-server {port}")
    (handle,) = setup.submit(setup.job(setup.step("a.0"), setup.step("b.1"), server=server))
    status = setup.wait(handle)
    assert status.state is JobState.COMPLETED
    assert status.server
    assert status.server.state is JobState.RUNNING
