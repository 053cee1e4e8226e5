"""What our side of a connection must bear: chatty login shells, odd files, logs of jobs that say no last word."""

import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import paramiko
import psutil
import pytest

from proctor.blocks.errors import RejectedError, TransientError
from proctor.blocks.job import JobHandle, JobState
from proctor.blocks.slurm import cluster, remote
from proctor.blocks.slurm.block import SlurmBackend
from proctor.blocks.slurm.ssh import Connection
from tests.blocks.slurm.test_contract import SlurmSetup
from tests.blocks.slurm.test_faults import stop, submit
from tests.cluster import SSHD, as_user, execution, start_again
from tests.waiting import wait_for

pytestmark = pytest.mark.live


class Chatty(Connection):
    """A connection to a site whose login shell greets everybody."""

    @contextmanager
    def channel(self, command: str, timeout: float | None) -> Iterator[paramiko.Channel]:
        with super().channel(f"echo 'Welcome to the cluster'; echo '@list of rules'; {command}", timeout) as channel:
            yield channel


def test_a_login_shell_that_greets_changes_nothing(
    setup: SlurmSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = execution()
    monkeypatch.setitem(cluster.MADE, cluster.login(section), Chatty(cluster.login(section)))
    backend = SlurmBackend(execution=section)
    (handle,) = submit(backend, setup, setup.job(setup.step("a.0", "print('one', flush=True); time.sleep(1)")))
    assert "one" in list(backend.logs(handle, "a.0", follow=True, tail=10))
    assert setup.wait(handle).state is JobState.COMPLETED
    lines = list(backend.logs(handle, "a.0", follow=False, tail=10))
    assert "one" in lines
    assert "Welcome to the cluster" not in lines
    folder = backend.fetch(handle, "a.0", tmp_path)
    assert (folder / "results.yml").read_bytes() == (setup.folder / "a.0" / "results.yml").read_bytes()


def test_links_empty_folders_and_odd_names_come_home(setup: SlurmSetup, tmp_path: Path) -> None:
    script = (
        "(out / 'blob').write_text('content'); (out / 'link').symlink_to('blob'); (out / 'dangling').symlink_to('no');"
        "(out / 'empty' / 'inner').mkdir(parents=True); open(os.fsencode(out) + b'/odd-\\xff\\n', 'w').write('odd')"
    )
    (handle,) = setup.submit(setup.job(setup.step("a.0", script)))
    assert setup.wait(handle).state is JobState.COMPLETED
    for _ in range(2):
        folder = setup.backend().fetch(handle, "a.0", tmp_path)
        assert (folder / "link").read_text() == "content"
        assert (folder / "empty" / "inner").is_dir()
        assert Path(os.fsdecode(os.fsencode(folder) + b"/odd-\xff\n")).read_text() == "odd"
        assert not (folder / "dangling").exists()


def followers(handle: JobHandle) -> list[psutil.Process]:
    """The shells on the login node that follow a log of this job."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if "follow()" in (line := " ".join(process.cmdline())) and handle.name in line:
                found.append(process)
    return found


def test_following_a_job_that_was_cancelled_while_it_waited_ends(setup: SlurmSetup) -> None:
    held = SlurmBackend(execution=execution(sbatch_extra_flags={"hold": True}))
    (handle,) = submit(held, setup, setup.job(setup.step("a.0")))
    as_user("scancel", handle.native_id)
    started = time.monotonic()
    assert list(setup.backend().logs(handle, "a.0", follow=True, tail=10)) == []
    assert time.monotonic() - started < 60


def test_who_stops_listening_leaves_no_process_behind(setup: SlurmSetup) -> None:
    held = SlurmBackend(execution=execution(sbatch_extra_flags={"hold": True}))
    (handle,) = submit(held, setup, setup.job(setup.step("a.0")))
    connection = Connection(cluster.login(execution()))
    text = remote.follow(handle, "a.0", None, 10, following=True)
    with connection.channel(f"/bin/sh -c {shlex.quote(text)}", 30):
        wait_for(lambda: followers(handle))
    connection.close()
    wait_for(lambda: not followers(handle), 20)


@pytest.mark.usefixtures("alone")
def test_cancelling_one_step_while_the_controller_is_away_is_not_taken_for_done(setup: SlurmSetup) -> None:
    (handle,) = setup.submit(setup.job(setup.step("a.0", "time.sleep(240)"), setup.step("b.1")))
    setup.until(handle, lambda status: status.steps["a.0"].state is JobState.RUNNING)
    stop("slurmctld")
    try:
        with pytest.raises(TransientError):
            setup.backend().cancel([handle], "a.0")
    finally:
        start_again()
    setup.backend().cancel([handle], "a.0")
    status = setup.wait(handle)
    assert [step.state for step in status.steps.values()] == [JobState.CANCELLED, JobState.COMPLETED]


def test_everything_works_through_a_control_socket(setup: SlurmSetup, tmp_path: Path) -> None:
    path = str(tmp_path / "mux")
    base = ["ssh", "-F", str(SSHD / "ssh_config"), "-S", path]
    subprocess.run([*base, "-fNM", "cluster"], check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        backend = SlurmBackend(execution=execution(ssh_control_path=path))
        server = setup.server("fake-server {port}")
        job = setup.job(
            setup.step("a.0", "print('one', flush=True)"), setup.step("b.1", "time.sleep(99)"), server=server
        )
        (handle,) = submit(backend, setup, job)
        assert "one" in list(backend.logs(handle, "a.0", follow=True, tail=10))
        setup.until(handle, lambda status: status.steps["b.1"].state is JobState.RUNNING)
        assert any("fake server is up" in line for line in backend.logs(handle, None, follow=False, tail=10))
        assert (backend.fetch(handle, "a.0", tmp_path / "home") / "results.yml").exists()
        assert backend.cancel([handle])[handle].steps["b.1"].state is JobState.CANCELLED
        assert setup.leftovers(handle) == []
    finally:
        subprocess.run([*base, "-O", "exit", "cluster"], check=True, capture_output=True)
    with pytest.raises(RejectedError, match=r"ssh .*-fNM"):
        backend.poll([handle])
