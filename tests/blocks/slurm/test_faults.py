"""What a cluster does to jobs, done for real: every sentence of «how it must behave» on the test cluster."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from proctor.blocks.errors import RejectedError, TransientError
from proctor.blocks.job import EnvVar, JobHandle, JobSpec, JobState, JobStatus
from proctor.blocks.process import processes
from proctor.blocks.slurm.block import SlurmBackend
from proctor.blocks.slurm.cluster import MADE
from proctor.blocks.stage_files import lost
from proctor.blocks.stages import step_marker
from tests.blocks.slurm.test_contract import SlurmSetup
from tests.cluster import SLURM, SSH_PORT, SSHD, UNTIL_GO, USER, as_user, execution, hold, ssh_config, start_again
from tests.contract import WEIRD
from tests.waiting import wait_for
from tests.wan_proxy import WanProxy

pytestmark = pytest.mark.live


@pytest.fixture
def proxy() -> Iterator[WanProxy]:
    with WanProxy(SSH_PORT) as proxy:
        yield proxy


def through(proxy: WanProxy, folder: Path, **changes: object) -> SlurmBackend:
    """A backend whose cluster is behind a bad network."""
    return SlurmBackend(execution=execution(ssh_config=ssh_config(folder, proxy.port), **changes))


def submit(backend: SlurmBackend, setup: SlurmSetup, *jobs: JobSpec) -> list[JobHandle]:
    answers = backend.submit(jobs)
    handles = [answer for answer in (answers[job.name] for job in jobs) if isinstance(answer, JobHandle)]
    assert len(handles) == len(jobs), answers
    setup.made += handles
    return handles


def submit_again(backend: SlurmBackend, setup: SlurmSetup, *jobs: JobSpec) -> None:
    """Submit as often as it takes: a cluster that was just out of reach may refuse a connection or two."""
    for pause in (0.2, 1, 2, 4, None):
        try:
            submit(backend, setup, *jobs)
        except TransientError:
            if pause is None:
                raise
            time.sleep(pause)
        else:
            return


def slurm_jobs(*jobs: JobSpec) -> list[str]:
    """What Slurm has under these names, ended ones as well."""
    return as_user("squeue", "-h", "-t", "all", "-n", ",".join(job.name for job in jobs), "-o", "%j").split()


def quick(setup: SlurmSetup, number: int) -> list[JobSpec]:
    return [setup.job(setup.step(f"s{index}.0")) for index in range(number)]


def lasting(setup: SlurmSetup) -> JobSpec:
    """A step that runs for long in its first attempt and ends at once in its next."""
    script = "(out / 'again').exists() or ((out / 'again').write_text(''), time.sleep(100))"
    return setup.job(setup.step("done.0"), setup.step("a.1", script))


def next_attempt(job: JobSpec) -> JobSpec:
    return replace(job, name=job.name[:-1] + "2", steps=job.steps[1:], attempt=2)


def begun(setup: SlurmSetup, handle: JobHandle) -> None:
    setup.until(handle, lambda _: (setup.folder / "a.1" / "again").exists())


def runs_again(setup: SlurmSetup, job: JobSpec, status: JobStatus) -> None:
    """The first attempt was lost but for what was done, and the second one does the rest."""
    assert status.steps["done.0"].state is JobState.COMPLETED
    assert lost(status.steps["a.1"]), status
    (handle,) = submit(SlurmBackend(execution=execution()), setup, next_attempt(job))
    assert setup.wait(handle).state is JobState.COMPLETED
    assert (setup.runs("done.0"), setup.runs("a.1")) == (1, 2)


# submission


def test_any_number_of_jobs_is_one_remote_command_over_one_connection(setup: SlurmSetup) -> None:
    backend = SlurmBackend(execution=execution(username=USER))
    backend.cluster.run("true")
    commands, opened = backend.cluster.commands, backend.cluster.opened
    jobs = quick(setup, 20)
    handles = submit(backend, setup, *jobs)
    assert (backend.cluster.commands - commands, backend.cluster.opened - opened) == (1, 0)
    backend.poll(handles)
    assert backend.cluster.commands - commands == 2
    assert sorted(slurm_jobs(*jobs)) == sorted(job.name for job in jobs)
    backend.cancel(handles)


def test_a_refused_job_in_the_middle_shifts_nobody(setup: SlurmSetup) -> None:
    jobs = quick(setup, 5)
    backend = SlurmBackend(execution=execution(qos="tight", walltime=60, sbatch_extra_flags={"hold": True}))
    answers = backend.submit(jobs)
    setup.made += [answer for answer in answers.values() if isinstance(answer, JobHandle)]
    refused = [name for name, answer in answers.items() if isinstance(answer, RejectedError)]
    assert len(refused) == 2
    assert all("QOSMaxSubmitJobPerUserLimit" in str(answers[name]) for name in refused)
    for name, answer in answers.items():
        if isinstance(answer, JobHandle):
            assert as_user("squeue", "-h", "-t", "all", "-j", answer.native_id, "-o", "%j").strip() == name


@pytest.mark.parametrize(
    ("change", "words"), [({"partition": "nowhere"}, "partition"), ({"account": "nobody"}, "account")]
)
def test_a_refusal_is_in_slurms_words(setup: SlurmSetup, change: dict[str, object], words: str) -> None:
    job = quick(setup, 1)[0]
    answer = SlurmBackend(execution=execution(**change)).submit([job])[job.name]
    assert isinstance(answer, RejectedError)
    assert words in str(answer)


@pytest.mark.parametrize("part", [0.02, 0.5, 0.98])
def test_a_cut_in_the_middle_of_an_upload_submits_nothing(
    setup: SlurmSetup, proxy: WanProxy, tmp_path: Path, part: float
) -> None:
    jobs = quick(setup, 10)
    backend = through(proxy, tmp_path)
    backend.cluster.run("true")
    proxy.cut_up = proxy.up + int(24_000 * part)
    with pytest.raises(TransientError):
        backend.submit(jobs)
    proxy.cut_up = None
    assert slurm_jobs(*jobs) == []
    submit_again(backend, setup, *jobs)
    assert sorted(slurm_jobs(*jobs)) == sorted(job.name for job in jobs)


@pytest.mark.parametrize("after", [0, 60, 300])
def test_a_reply_that_is_lost_halfway_is_resolved_by_looking(
    setup: SlurmSetup, proxy: WanProxy, tmp_path: Path, after: int
) -> None:
    jobs = quick(setup, 8)
    backend = through(proxy, tmp_path)
    backend.cluster.run("true")
    proxy.cut_down = proxy.down + 400 + after
    with pytest.raises(TransientError):
        backend.submit(jobs)
    proxy.cut_down = None
    submit_again(backend, setup, *jobs)
    assert sorted(slurm_jobs(*jobs)) == sorted(job.name for job in jobs)


def test_a_submitter_that_dies_before_it_wrote_the_id_is_no_second_job(setup: SlurmSetup) -> None:
    job = quick(setup, 1)[0]
    (handle,) = setup.submit(job)
    (setup.folder / ".proctor" / job.name / "job_id").unlink()
    assert setup.submit(job) == [handle]
    assert slurm_jobs(job) == [job.name]


def test_two_submitters_at_once_are_one_job(setup: SlurmSetup) -> None:
    job = quick(setup, 1)[0]
    SlurmBackend(execution=execution()).cluster.run("true")
    pids = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            MADE.clear()
            try:
                SlurmBackend(execution=execution()).submit([job])
            finally:
                os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    assert slurm_jobs(job) == [job.name]
    setup.submit(job)


def test_a_folder_that_cannot_be_written_is_refused_at_once(setup: SlurmSetup) -> None:
    job = replace(quick(setup, 1)[0], output_dir="/usr/results/typo")
    answer = setup.backend().submit([job])[job.name]
    assert isinstance(answer, RejectedError)
    assert "execution.output_dir" in str(answer)
    assert "Permission denied" in str(answer)


# what Slurm does to jobs


def test_the_walltime_warns_the_harness_and_the_rest_runs_again(setup: SlurmSetup) -> None:
    begins = lasting(setup)
    job = replace(begins, steps=(*begins.steps, setup.step("late.2"), setup.step("last.3")))
    (handle,) = submit(SlurmBackend(execution=execution(walltime=120)), setup, job)
    status = setup.wait(handle)
    assert (setup.runs("late.2"), setup.runs("last.3")) == (0, 0), "nothing begins when the walltime is nearly over"
    assert "walltime" in status.steps["a.1"].message
    assert "interrupted by TERM" in (setup.folder / "a.1" / "stage.exit").read_text(), "the wrapper could end cleanly"
    runs_again(setup, job, status)


def test_a_preempted_job_runs_its_rest_again(setup: SlurmSetup) -> None:
    job = lasting(setup)
    (handle,) = submit(SlurmBackend(execution=execution(qos="low", exclusive=True, nodes=4)), setup, job)
    begun(setup, handle)
    as_user("sbatch", "--qos=high", "--exclusive", "--nodes=4", "--output=/dev/null", "--wrap", "sleep 1")
    status = setup.wait(handle)
    assert "preempted" in status.steps["a.1"].message
    runs_again(setup, job, status)


@pytest.mark.usefixtures("alone")
def test_a_failed_node_is_no_failed_benchmark(setup: SlurmSetup) -> None:
    job = lasting(setup)
    (handle,) = submit(SlurmBackend(execution=execution(sbatch_extra_flags={"nodelist": "n4"})), setup, job)
    begun(setup, handle)
    hold()
    os.kill(int((SLURM / "run" / "slurmd.n4.pid").read_text()), signal.SIGKILL)
    try:
        status = setup.wait(handle)
    finally:
        start_again()
    setup.murder(handle, "a.1")
    runs_again(setup, job, status)


def test_an_attempt_ends_what_an_earlier_one_left_on_its_node(setup: SlurmSetup) -> None:
    job = lasting(setup)
    there = SlurmBackend(execution=execution(sbatch_extra_flags={"nodelist": "n3"}))
    (first,) = submit(there, setup, job)
    begun(setup, first)
    (second,) = submit(there, setup, next_attempt(job))
    assert setup.wait(second).state is JobState.COMPLETED
    marker = step_marker(first.name, "a.1")
    assert not processes.marked([marker])[marker], "it would write into the same folder"


def test_slurms_own_requeue_keeps_what_is_done(setup: SlurmSetup) -> None:
    job = lasting(setup)
    (handle,) = submit(SlurmBackend(execution=execution(requeue=True)), setup, job)
    begun(setup, handle)
    as_user("scontrol", "requeue", handle.native_id)
    status = setup.wait(handle)
    assert status.state is JobState.COMPLETED, status
    assert (setup.runs("done.0"), setup.runs("a.1")) == (1, 2)
    assert slurm_jobs(job) == [job.name]


def test_slurm_does_not_requeue_unless_asked(setup: SlurmSetup) -> None:
    job = lasting(setup)
    (handle,) = setup.submit(job)
    begun(setup, handle)
    done = subprocess.run(["scontrol", "requeue", handle.native_id], capture_output=True, text=True, check=False)
    assert "disabled" in done.stderr.lower() or done.returncode != 0


def test_a_job_cancelled_by_hand_is_cancelled_and_not_lost(setup: SlurmSetup) -> None:
    job = lasting(setup)
    (handle,) = setup.submit(job)
    begun(setup, handle)
    as_user("scancel", handle.native_id)
    status = setup.wait(handle)
    assert status.steps["done.0"].state is JobState.COMPLETED
    assert status.steps["a.1"].state is JobState.CANCELLED


def test_a_reason_that_never_resolves_is_told_and_can_be_acted_on(setup: SlurmSetup) -> None:
    job = setup.job(setup.step("a.0"))
    (handle,) = submit(SlurmBackend(execution=execution(partition="short", walltime=3600)), setup, job)
    status = setup.until(handle, lambda status: "never" in status.message)
    assert "PartitionTimeLimit (will never start by itself)" in status.message
    assert status.state is JobState.PENDING, "left alone unless asked"
    status = SlurmBackend(execution=execution(unresolvable="cancel")).poll([handle])[handle]
    assert status.state is JobState.FAILED
    assert "PartitionTimeLimit" in status.steps["a.0"].message
    assert not as_user("squeue", "-h", "-j", handle.native_id).split()
    assert setup.status(handle).state is JobState.FAILED, "and says so for good"


def test_waiting_is_explained(setup: SlurmSetup) -> None:
    first, second = setup.job(setup.step("a.0", "time.sleep(150)")), setup.job(setup.step("b.0"))
    full = SlurmBackend(execution=execution(exclusive=True, nodes=4))
    (one,) = submit(full, setup, first)
    setup.until(one, lambda status: status.state is JobState.RUNNING)
    (two,) = submit(full, setup, second)
    status = setup.until(
        two, lambda status: re.search(r"pending: (Resources|Priority), \d\w\w of \d", status.message) is not None
    )
    assert status.steps["b.0"].state is JobState.PENDING
    status = setup.until(two, lambda status: "estimated start" in status.message)


# the cluster vanishes


def stop(daemon: str) -> None:
    hold()
    pid = int((SLURM / "run" / f"{daemon}.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not Path(f"/proc/{pid}").exists())


@pytest.mark.usefixtures("alone")
def test_work_goes_on_while_slurmctld_is_away_and_nothing_is_doubled(setup: SlurmSetup) -> None:
    job = setup.job(setup.step("a.0", UNTIL_GO), setup.step("b.1"))
    late = setup.job(setup.step("c.0"))
    (handle,) = setup.submit(job)
    setup.until(handle, lambda status: status.steps["a.0"].state is JobState.RUNNING)
    stop("slurmctld")
    try:
        states = [step.state for step in setup.status(handle).steps.values()]
        assert not {JobState.FAILED, JobState.CANCELLED} & set(states)
        with pytest.raises(TransientError):
            setup.backend().submit([late])
        as_user("touch", str(setup.folder / "go"))
    finally:
        start_again()
    assert setup.wait(handle).state is JobState.COMPLETED
    (handle,) = setup.submit(late)
    assert setup.wait(handle).state is JobState.COMPLETED
    assert slurm_jobs(job, late) == [job.name, late.name] or slurm_jobs(job, late) == [late.name, job.name]


@pytest.mark.usefixtures("alone")
def test_slurmdbd_away_changes_nothing(setup: SlurmSetup) -> None:
    stop("slurmdbd")
    try:
        (handle,) = setup.submit(setup.job(setup.step("a.0")))
        assert setup.wait(handle).state is JobState.COMPLETED
    finally:
        start_again()


@pytest.mark.usefixtures("alone")
def test_an_sshd_that_restarts_is_only_a_pause(setup: SlurmSetup) -> None:
    (handle,) = setup.submit(setup.job(setup.step("a.0", "time.sleep(2)")))
    hold()
    os.kill(int((SSHD / "sshd.pid").read_text()), signal.SIGTERM)
    setup.backend().cluster.close()  # type: ignore[attr-defined]
    with pytest.raises(TransientError):
        setup.status(handle)
    start_again()
    assert setup.wait(handle).state is JobState.COMPLETED


def test_what_slurm_has_forgotten_is_known_from_its_files(setup: SlurmSetup) -> None:
    (handle,) = setup.submit(setup.job(setup.step("a.0"), setup.step("b.1", "sys.exit(3)")))
    setup.wait(handle)
    work = setup.folder / ".proctor" / handle.name / "job_id"
    work.write_text("999999\n")
    status = setup.status(replace(handle, native_id="999999"))
    assert [step.state for step in status.steps.values()] == [JobState.COMPLETED, JobState.FAILED]


def test_logs_survive_a_cut_connection(setup: SlurmSetup, proxy: WanProxy, tmp_path: Path) -> None:
    script = "[(print(i, flush=True), time.sleep(0.02)) for i in range(200)]"
    backend = through(proxy, tmp_path)
    (handle,) = submit(backend, setup, setup.job(setup.step("a.0", script)))
    seen = []
    for line in backend.logs(handle, "a.0", follow=True, tail=1000):
        if line.isdigit():
            seen.append(int(line))
        if line == "50":
            proxy.cut()
    assert seen == list(range(200))


# results


def patiently(act: Callable[[], Path]) -> Path:
    """Ask again while the proxy still resets connections of the cut."""
    for _ in range(20):
        with suppress(TransientError):
            return act()
        time.sleep(0.2)
    return act()


def test_a_fetch_that_breaks_off_is_taken_up_again(setup: SlurmSetup, proxy: WanProxy, tmp_path: Path) -> None:
    script = "[(out / ('f%d' % i)).write_bytes(os.urandom(200_000)) for i in range(10)]; (out / 'cache').mkdir(); (out / 'cache' / 'big').write_bytes(b'x' * 100_000)"
    backend = through(proxy, tmp_path)
    (handle,) = submit(backend, setup, setup.job(setup.step("a.0", script)))
    setup.wait(handle)
    proxy.cut_down = proxy.down + 1_000_000
    with pytest.raises(TransientError):
        backend.fetch(handle, "a.0", tmp_path / "home")
    here = {path.name for path in (tmp_path / "home" / "a.0").glob("f?")}
    assert 0 < len(here) < 10
    proxy.cut_down = None
    before = proxy.down
    folder = patiently(lambda: backend.fetch(handle, "a.0", tmp_path / "home"))
    assert proxy.down - before < 1_900_000, "what was here is not sent again"
    for index in range(10):
        assert (folder / f"f{index}").read_bytes() == (setup.folder / "a.0" / f"f{index}").read_bytes()
    assert not (folder / "cache").exists(), "caches stay on the cluster"
    before = proxy.down
    backend.fetch(handle, "a.0", tmp_path / "home")
    assert proxy.down - before < 20_000, "nothing has changed, nothing is sent"


# secrets and odd names


def test_secrets_are_in_no_place_that_others_can_read(setup: SlurmSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "canary-0815")
    step = setup.step(
        "a.0", f"{UNTIL_GO}; assert os.environ['TOKEN'] == 'canary-%04d' % 815", EnvVar("TOKEN", "host", "CANARY")
    )
    job = setup.job(step)
    held = SlurmBackend(execution=execution(sbatch_extra_flags={"hold": True}))
    (handle,) = submit(held, setup, job)
    private = setup.folder / ".proctor" / job.name / "private"
    assert (private.stat().st_mode & 0o777, (private / "env").stat().st_mode & 0o777) == (0o700, 0o600)
    as_user("scontrol", "release", handle.native_id)
    setup.until(handle, lambda status: status.steps["a.0"].state is JobState.RUNNING)
    assert not (private / "env").exists(), "the job removes it when it has read it"
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            assert b"canary-0815" not in path.read_bytes()
    job_words = as_user("scontrol", "show", "job", handle.native_id) + as_user(
        "sacct", "-P", "-j", handle.native_id, "-o", "ALL"
    )
    assert "canary-0815" not in job_words
    as_user("touch", str(setup.folder / "go"))
    assert setup.wait(handle).state is JobState.COMPLETED
    setup.until(handle, lambda _: setup.leftovers(handle) == [])
    assert not [path for path in setup.folder.rglob("*") if path.is_file() and b"canary-0815" in path.read_bytes()]


@pytest.mark.parametrize(
    "name", ["it's", 'a "b"', "$HOME", "a;b", "-dash", "ünï", "new\nline", "per%jcent", "a,b:c", "`x`", "tab\there"]
)
def test_odd_paths_arrive_as_they_are(setup: SlurmSetup, name: str, tmp_path: Path) -> None:
    setup.folder = setup.folder / name
    (handle,) = setup.submit(
        setup.job(setup.step("a.0", "(out / 'seen').write_text(os.environ['WEIRD'])", EnvVar("WEIRD", "lit", WEIRD)))
    )
    assert setup.wait(handle).state is JobState.COMPLETED
    folder = setup.backend().fetch(handle, "a.0", tmp_path)
    assert (folder / "seen").read_text() == WEIRD


@pytest.mark.parametrize("comment", ["it's", 'a "b" \\', "$HOME; #", "ünï"])
def test_odd_comments_arrive_as_they_are(setup: SlurmSetup, comment: str) -> None:
    (handle,) = submit(SlurmBackend(execution=execution(sbatch_comment=comment)), setup, setup.job(setup.step("a.0")))
    assert as_user("squeue", "-h", "-t", "all", "-j", handle.native_id, "-o", "%k").rstrip("\n") == comment
