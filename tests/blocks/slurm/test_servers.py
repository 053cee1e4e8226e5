"""Model servers in real Slurm jobs: whose answers count, how a command starts, and what falls with a server."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from proctor.blocks.errors import RejectedError
from proctor.blocks.job import Container, EnvVar, JobHandle, JobSpec, JobState, Server
from proctor.blocks.slurm.block import SlurmBackend
from proctor.blocks.stage_files import lost
from tests.blocks.slurm.test_contract import SlurmSetup
from tests.cluster import PREEMPTIBLE, UNTIL_GO, as_user, execution, preempt
from tests.contract import Setup

pytestmark = pytest.mark.live

REPOSITORY = Path(__file__).parents[3]
ON_ONE_NODE = execution(sbatch_extra_flags={"nodelist": "n2"})
ASKS = """
import json, urllib.request
base = document["base"]
body = json.dumps({"messages": []}).encode()
[(urllib.request.urlopen(urllib.request.Request(base + "/chat/completions", body)), time.sleep(0.2)) for _ in range(15)]
"""


def asking(setup: Setup, name: str, server: Server, script: str = ASKS) -> JobSpec:
    """A job in a folder of its own whose step asks its server, by the address in its run config."""
    setup.folder = setup.folder.with_name(name)
    step = setup.step("a.0", script.replace('document["base"]', f'"http://127.0.0.1:{server.port}/v1"'))
    return setup.job(step, server=server)


def submit(setup: Setup, *jobs: JobSpec, backend: SlurmBackend | None = None) -> list[JobHandle]:
    answers = (backend or SlurmBackend(execution=ON_ONE_NODE)).submit(jobs)
    handles = [answer for answer in answers.values() if isinstance(answer, JobHandle)]
    assert len(handles) == len(jobs), answers
    setup.made += handles
    return handles


def answered(handle: JobHandle) -> int:
    """How many questions the server of a job has answered."""
    return (Path(handle.output_dir) / "server" / "harness.log").read_text().count("POST /v1/chat/completions")


def test_two_jobs_with_one_port_on_one_node_ask_each_its_own_server(setup: SlurmSetup) -> None:
    server = setup.server("sh -c 'exec fake-server \"$2\" 1' serve --port {port}")
    handles = submit(setup, *(asking(setup, name, server) for name in ("one", "two")))
    for handle in handles:
        status = setup.wait(handle)
        assert status.state is JobState.COMPLETED, status
        assert answered(handle) == 15


def test_a_server_whose_port_cannot_be_changed_waits_until_it_is_free(setup: SlurmSetup) -> None:
    server = setup.server("fake-server {port} 1", ready_timeout=60)
    (first,) = submit(setup, asking(setup, "one", server, UNTIL_GO + ASKS))
    setup.until(first, lambda status: status.steps["a.0"].state is JobState.RUNNING)
    (second,) = submit(setup, asking(setup, "two", server))
    seen = setup.until(second, lambda status: "waits for port" in status.message or status.state.final)
    assert f"waits for port {server.port} of n2" in seen.message
    as_user("touch", f"{first.output_dir}/go")
    for handle in (first, second):
        assert setup.wait(handle).state is JobState.COMPLETED
        assert answered(handle) == 15


def test_a_port_that_never_becomes_free_is_no_fault_of_the_benchmark(setup: SlurmSetup) -> None:
    server = setup.server("fake-server {port} 0", ready_timeout=10)
    first = asking(setup, "one", server, "time.sleep(100)")
    (running,) = submit(setup, first)
    setup.until(running, lambda status: status.steps["a.0"].state is JobState.RUNNING)
    (handle,) = submit(setup, asking(setup, "two", server))
    status = setup.wait(handle)
    assert lost(status.steps["a.0"]), status
    assert "set deployment.port" in status.steps["a.0"].message
    assert setup.runs("a.0") == 0


@pytest.mark.parametrize(
    "command", ["cd / && fake-server {port}", "WAIT=0 fake-server {port}", "echo begins; fake-server {port}"]
)
def test_a_command_of_several_parts_starts_the_server(setup: SlurmSetup, command: str) -> None:
    (handle,) = setup.submit(setup.job(setup.step("a.0"), server=setup.server(command)))
    status = setup.wait(handle)
    assert status.state is JobState.COMPLETED, (status, (setup.folder / "server" / "harness.log").read_text())


def test_lock_files_of_this_machine_hold_on_the_cluster(setup: SlurmSetup, tmp_path: Path) -> None:
    lines = (REPOSITORY / "lock" / "bootstrap.txt").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("uv=="))
    lock = tmp_path / "harness.txt"
    lock.write_text("\n".join(lines[start:]) + "\n")
    container = Container(packages=(str(setup.package), str(lock)))
    (handle,) = setup.submit(setup.job(replace(setup.step("a.0"), container=container)))
    status = setup.wait(handle)
    assert status.state is JobState.COMPLETED, (setup.folder / "a.0" / "harness.log").read_text()
    listed = (setup.folder / "a.0" / "environment.txt").read_text()
    assert lines[start].split()[0] in listed


def test_building_the_servers_environment_is_no_part_of_its_time_to_answer(setup: SlurmSetup) -> None:
    slow = setup.folder.with_name("slow")
    as_user("cp", "-r", str(setup.package), str(slow))
    (slow / "setup.py").write_text("import time; time.sleep(30)\nfrom setuptools import setup; setup()\n")
    setup.submit(setup.job(setup.step("warm.0")))
    server = replace(setup.server("fake-server {port}", ready_timeout=25), container=Container(packages=(str(slow),)))
    (handle,) = setup.submit(setup.job(setup.step("a.0"), server=server))
    setup.until(handle, lambda status: "imported" in status.message or status.state.final)
    status = setup.wait(handle)
    assert status.state is JobState.COMPLETED, status


def test_steps_that_slurm_told_to_end_without_a_word_to_the_job_run_again(setup: SlurmSetup) -> None:
    server = setup.server("fake-server {port}")
    slow = "__import__('signal').signal(15, lambda *_: (time.sleep(4), sys.exit(1)))"
    script = f"(out / 'again').exists() or ({slow}, (out / 'again').write_text(''), time.sleep(100))"
    job = setup.job(setup.step("a.0", script), server=server)
    (handle,) = setup.submit(job)
    setup.until(handle, lambda _: (setup.folder / "a.0" / "again").exists())
    as_user("scancel", "--signal=TERM", handle.native_id)  # what a partition with a GraceTime does before it preempts
    status = setup.wait(handle)
    assert lost(status.steps["a.0"]), status
    (handle,) = setup.submit(replace(job, name=job.name[:-1] + "2", attempt=2))
    assert setup.wait(handle).state is JobState.COMPLETED
    assert setup.runs("a.0") == 2


def test_a_preempted_job_with_a_server_runs_again(setup: SlurmSetup) -> None:
    script = "(out / 'again').exists() or ((out / 'again').write_text(''), time.sleep(100))"
    job = setup.job(setup.step("a.0", script), server=setup.server("fake-server {port}"))
    (handle,) = submit(setup, job, backend=SlurmBackend(execution=execution(qos="low", exclusive=True, nodes=4)))
    setup.until(handle, lambda _: (setup.folder / "a.0" / "again").exists())
    as_user("sbatch", "--qos=high", "--exclusive", "--nodes=4", "--output=/dev/null", "--wrap", "sleep 1")
    status = setup.wait(handle)
    assert lost(status.steps["a.0"]), status
    (handle,) = setup.submit(replace(job, name=job.name[:-1] + "2", attempt=2))
    assert setup.wait(handle).state is JobState.COMPLETED


def test_jobs_of_one_evaluation_keep_their_servers_apart(setup: SlurmSetup) -> None:
    first = setup.job(setup.step("a.0", "time.sleep(3)"), server=setup.server("fake-server {port}"))
    dies = setup.job(setup.step("b.1", "time.sleep(60)"), server=setup.server("fake-server {port} 0 1"))
    second = replace(dies, name=dies.name[:-3] + "1-1")
    handles = setup.submit(first, second)
    assert setup.wait(handles[0]).state is JobState.COMPLETED
    status = setup.wait(handles[1])
    assert "server died" in status.steps["b.1"].message
    assert status.server
    assert "fake server is up" in status.server.log_tail
    assert list(setup.backend().logs(handles[1], None, follow=False, tail=5))


def test_the_log_of_a_server_that_goes_on_holds_up_no_results(setup: SlurmSetup, tmp_path: Path) -> None:
    server = setup.server("sh -c 'fake-server \"$1\" & while :; do seq 20000; done' serve {port}")
    steps = [setup.step("a.0", "time.sleep(100)"), setup.step("b.1")]
    (handle,) = setup.submit(setup.job(*steps, server=server, max_parallel=2))
    setup.until(handle, lambda status: status.steps["b.1"].state is JobState.COMPLETED)
    folder = setup.backend().fetch(handle, "b.1", tmp_path)
    assert (folder / "results.yml").exists()
    assert (tmp_path / "server" / "harness.log").stat().st_size


def test_a_variable_that_is_not_set_where_the_job_runs_is_told(setup: SlurmSetup) -> None:
    (handle,) = setup.submit(
        setup.job(
            setup.step("a.0", "", EnvVar("TOKEN", "runtime", "NOT_SET_ANYWHERE")),
            setup.step("b.1", "assert os.environ['WHO'] == 'proctor'", EnvVar("WHO", "runtime", "USER")),
        )
    )
    status = setup.wait(handle)
    assert "env_vars.TOKEN" in status.steps["a.0"].message
    assert "NOT_SET_ANYWHERE" in status.steps["a.0"].message
    assert status.steps["b.1"].state is JobState.COMPLETED


def test_a_job_that_may_be_requeued_keeps_its_secrets_no_longer_than_it_runs(
    setup: SlurmSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "canary-4712")
    job = setup.job(setup.step("a.0", "", EnvVar("TOKEN", "host", "CANARY")))
    (handle,) = submit(setup, job, backend=SlurmBackend(execution=execution(requeue=True)))
    assert setup.wait(handle).state is JobState.COMPLETED
    setup.until(handle, lambda _: not as_user("squeue", "-h", "-t", "R,CG", "-j", handle.native_id).split())
    files = [path for path in setup.folder.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"canary-4712" in path.read_bytes()]


@pytest.mark.parametrize("why", ["CANCELLED", "PREEMPTED"])
def test_the_job_keeps_why_it_was_told_to_end(setup: SlurmSetup, why: str) -> None:
    script = "import signal; signal.signal(signal.SIGTERM, lambda *_: time.sleep(2)); time.sleep(60)"
    (handle,) = submit(
        setup, setup.job(setup.step("a.0", script)), backend=SlurmBackend(execution=execution(**PREEMPTIBLE))
    )
    setup.until(handle, lambda status: status.steps["a.0"].state is JobState.RUNNING)
    if why == "CANCELLED":
        as_user("scancel", handle.native_id)
    else:
        preempt()
    kept = setup.folder / ".proctor" / handle.name / "why"
    setup.until(handle, lambda _: kept.exists() and kept.read_text() != "")
    assert kept.read_text() == f"{why}\n"


@pytest.mark.parametrize("model", ['it\'s "odd" $HOME; `x`', "ünï/-model\\n"])
def test_an_odd_name_of_a_model_arrives_as_it_is(setup: SlurmSetup, model: str) -> None:
    plain = setup.server("fake-server {port}")
    server = replace(plain, served_model=model, container=setup.container(EnvVar("FAKE_MODEL", "lit", model)))
    (handle,) = setup.submit(setup.job(setup.step("a.0"), server=server))
    assert setup.wait(handle).state is JobState.COMPLETED
    listed = json.loads((setup.folder / "a.0" / "server-models.json").read_text())
    assert listed["data"][0]["id"] == model


@pytest.mark.parametrize("key", ["account", "partition", "qos", "reservation"])
def test_an_odd_name_for_slurm_reaches_it_whole_and_no_shell(setup: SlurmSetup, key: str, shared: Path) -> None:
    name = f"""it's "$(touch {shared}/x)"; touch {shared}/y `touch {shared}/z`"""
    job = setup.job(setup.step("a.0"))
    answer = SlurmBackend(execution=execution(**{key: name})).submit([job])[job.name]
    assert isinstance(answer, RejectedError), answer
    assert list(shared.iterdir()) == []


def test_slurms_books_tell_how_a_job_ended_that_its_queue_has_forgotten(setup: SlurmSetup) -> None:
    (handle,) = setup.submit(setup.job(setup.step("a.0", "time.sleep(100)")))
    setup.until(handle, lambda status: status.steps["a.0"].state is JobState.RUNNING)
    as_user("scancel", handle.native_id)
    setup.wait(handle)
    ask = ["squeue", "-h", "-t", "all", "-n", handle.name]
    setup.until(handle, lambda _: not as_user(*ask).split(), 300)
    (setup.folder / ".proctor" / handle.name / "why").unlink(missing_ok=True)
    (setup.folder / "a.0" / "stage.exit").unlink()
    status = setup.status(handle)
    assert status.steps["a.0"].state is JobState.CANCELLED, status
