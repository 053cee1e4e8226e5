"""The Docker backend against the contract, on a real engine, and what is special about it."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proctor.blocks.backend import Backend
from proctor.blocks.docker import containers
from proctor.blocks.docker.block import DockerBackend, variables, write_files
from proctor.blocks.docker.engine import HICCUP, ensure_image
from proctor.blocks.docker.request import step_request
from proctor.blocks.errors import RejectedError, TransientError
from proctor.blocks.job import Container, EnvVar, JobHandle, JobState
from proctor.blocks.stage_files import lost
from proctor.configs.execution_schema import LocalExecution
from tests.contract import RunningContract, Setup
from tests.engine import engine, fake_harness_image

pytestmark = pytest.mark.live


class DockerSetup(Setup):
    """Containers on the engine of this machine."""

    results = "/results"

    def __init__(self, folder: Path, **execution: object) -> None:
        super().__init__(folder)
        self.execution = LocalExecution.model_validate({"endpoint_readiness_timeout": 30, **execution})
        self.image = fake_harness_image()

    def backend(self) -> Backend:
        return DockerBackend(execution=self.execution)

    def container(self, *env: EnvVar) -> Container:
        return Container(image=self.image, env=env)

    def leftovers(self, handle: JobHandle) -> list[str]:
        label = f"proctor.job={handle.name}"
        return [
            each.name or ""
            for each in engine().containers.list(all=True, ignore_removed=True, filters={"label": label})
        ]

    def murder(self, handle: JobHandle, step: str) -> None:
        engine().containers.get(f"{handle.name}-{step}").kill("KILL")


class TestDockerBackend(RunningContract):
    @pytest.fixture
    def setup(self, tmp_path: Path) -> Iterator[Setup]:
        yield DockerSetup(tmp_path)


@pytest.fixture
def docker_setup(tmp_path: Path) -> Iterator[DockerSetup]:
    setup = DockerSetup(tmp_path)
    yield setup
    setup.close()


def test_results_belong_to_the_submitting_user(docker_setup: DockerSetup) -> None:
    (handle,) = docker_setup.submit(docker_setup.job(docker_setup.step("a.0")))
    docker_setup.wait(handle)
    owners = {path.stat().st_uid for path in docker_setup.folder.rglob("*")}
    assert owners == {os.getuid()}
    assert not [path for path in docker_setup.folder.rglob("*") if path.stat().st_mode & 0o002]


def test_results_of_another_user_inside_are_handed_over(tmp_path: Path) -> None:
    setup = DockerSetup(tmp_path, user="1234:1234")
    (handle,) = setup.submit(setup.job(setup.step("a.0", "assert os.getuid() == 1234; print(os.environ['HOME'])")))
    assert setup.wait(handle).state is JobState.COMPLETED
    assert (setup.folder / "a.0" / "results.yml").stat().st_uid == 1234
    folder = setup.backend().fetch(handle, "a.0", setup.folder)
    setup.close()
    assert {path.stat().st_uid for path in [folder, *folder.rglob("*")]} == {os.getuid()}


def test_a_job_with_a_server_that_is_cancelled_is_cancelled(docker_setup: DockerSetup) -> None:
    server = docker_setup.server("fake-server {port}")
    steps = [docker_setup.step("a.0", "sys.exit(3)"), docker_setup.step("b.1", "time.sleep(60)")]
    (handle,) = docker_setup.submit(docker_setup.job(*steps, server=server))
    docker_setup.until(handle, lambda status: status.steps["b.1"].state is JobState.RUNNING)
    for status in (docker_setup.backend().cancel([handle])[handle], docker_setup.status(handle)):
        assert (status.steps["a.0"].state, status.steps["a.0"].exit_code) == (JobState.FAILED, 3)
        assert status.steps["b.1"].state is JobState.CANCELLED
        assert status.server
        assert status.server.state is JobState.CANCELLED
    assert docker_setup.leftovers(handle) == []


@pytest.mark.parametrize("how", ["kill", "remove"])
def test_steps_whose_server_was_ended_from_outside_are_lost(docker_setup: DockerSetup, how: str) -> None:
    server = docker_setup.server("fake-server {port}")
    steps = [docker_setup.step(name, "time.sleep(60)") for name in ("a.0", "b.1")]
    (handle,) = docker_setup.submit(docker_setup.job(*steps, server=server))
    docker_setup.until(handle, lambda status: status.steps["a.0"].state is JobState.RUNNING)
    container = engine().containers.get(f"{handle.name}-server")
    container.kill() if how == "kill" else container.remove(force=True)
    docker_setup.wait(handle)
    docker_setup.backend().cancel([handle])
    status = docker_setup.status(handle)
    assert all(lost(step) for step in status.steps.values()), status
    assert status.server
    assert status.server.state is JobState.FAILED


def test_a_step_that_had_failed_before_keeps_its_reason_when_the_server_dies(docker_setup: DockerSetup) -> None:
    server = docker_setup.server("fake-server {port} & until [ -e /tmp/end ]; do sleep 0.1; done; exit 9")
    steps = [docker_setup.step("a.0", "sys.exit(3)"), docker_setup.step("b.1", "time.sleep(60)")]
    (handle,) = docker_setup.submit(docker_setup.job(*steps, server=server))
    docker_setup.until(handle, lambda status: status.steps["b.1"].state is JobState.RUNNING)
    time.sleep(1.1)
    engine().containers.get(f"{handle.name}-server").exec_run(["touch", "/tmp/end"])
    status = docker_setup.wait(handle)
    assert (status.steps["a.0"].exit_code, "server" in status.steps["a.0"].message) == (3, False)
    assert "server died" in status.steps["b.1"].message


def test_flags_of_the_network_go_with_a_server(tmp_path: Path) -> None:
    setup = DockerSetup(tmp_path, docker_args=["--add-host=there:10.0.0.1", "--hostname=here"])
    script = "import socket; assert socket.gethostbyname('there') == '10.0.0.1'"
    (handle,) = setup.submit(setup.job(setup.step("a.0", script), server=setup.server("fake-server {port}")))
    status = setup.wait(handle)
    setup.close()
    assert status.state is JobState.COMPLETED, status


def test_the_image_that_really_ran_is_told(docker_setup: DockerSetup) -> None:
    (handle,) = docker_setup.submit(docker_setup.job(docker_setup.step("a.0")))
    digest = docker_setup.wait(handle).image_digests["a.0"]
    assert re.search(r"sha256:[0-9a-f]{64}$", digest)
    assert digest.endswith(str(engine().images.get(docker_setup.image).id))


def test_running_out_of_memory_is_told_and_not_repeated(tmp_path: Path) -> None:
    setup = DockerSetup(tmp_path, memory_limit="60m", docker_args=["--memory-swap=60m"])
    (handle,) = setup.submit(setup.job(setup.step("a.0", "x = bytearray(300_000_000); time.sleep(30)")))
    status = setup.wait(handle).steps["a.0"]
    setup.close()
    assert status.state is JobState.FAILED
    assert status.exit_code == 137
    assert status.message == "out of memory (limit 60m)"


@pytest.mark.parametrize(
    ("execution", "image", "words"),
    [
        ({"gpus": "all"}, "", "nvidia-container-toolkit"),
        ({"pull": "never"}, "proctor-test/no-such-image:1", "execution.pull is never"),
        ({"docker_args": ["--cap-add=NONSENSE"]}, "", "NONSENSE"),
        ({"docker_args": ["--workdir=nowhere"]}, "", "nowhere"),
        ({"docker_args": ["--device=/dev/nonsense"]}, "", "--device"),
    ],
)
def test_what_the_engine_refuses_is_told_with_what_to_do(
    tmp_path: Path, execution: dict[str, object], image: str, words: str
) -> None:
    setup = DockerSetup(tmp_path, **execution)
    setup.image = image or setup.image
    job = setup.job(setup.step("a.0"))
    answer = setup.backend().submit([job])[job.name]
    assert isinstance(answer, RejectedError)
    assert words in str(answer)
    assert engine().containers.list(all=True, ignore_removed=True, filters={"label": f"proctor.job={job.name}"}) == []


def test_a_registry_out_of_reach_may_come_back_within_minutes(tmp_path: Path) -> None:
    setup = DockerSetup(tmp_path)
    setup.image = "127.0.0.1:1/no-such-image:1"
    with pytest.raises(TransientError, match="connection refused") as caught:
        setup.backend().submit([setup.job(setup.step("a.0"))])
    assert caught.value.within == HICCUP


def test_an_engine_that_is_not_there_is_told_with_what_to_do() -> None:
    backend = DockerBackend(execution=LocalExecution(docker_host="unix:///nowhere/docker.sock"))
    with pytest.raises(TransientError, match=r"no Docker engine answers on unix:///nowhere/docker\.sock: start it"):
        backend.poll([JobHandle("local", "proctor-x", "0" * 8, "/nowhere", ("a.0",))])


def test_a_container_that_was_created_but_never_started_is_started(docker_setup: DockerSetup) -> None:
    job = docker_setup.job(docker_setup.step("a.0"))
    request = step_request(job, job.steps[0], docker_setup.execution, f"{os.getuid()}:{os.getgid()}")
    write_files(job, docker_setup.execution, counted=False)
    digest = ensure_image(engine(), request.image, docker_setup.execution)
    created = containers.create(engine(), request, digest, variables(request))
    (handle,) = docker_setup.submit(job)
    assert docker_setup.wait(handle).state is JobState.COMPLETED
    assert docker_setup.runs("a.0") == 1
    assert engine().containers.get(f"{job.name}-a.0").id == created


def test_limits_and_flags_reach_the_engine(tmp_path: Path) -> None:
    flags = [
        "--shm-size=16m",
        "--label=team=x",
        "--ulimit",
        "nofile=1000:2000",
        "-e",
        "FLAG=yes",
        "--add-host=there:10.0.0.1",
    ]
    setup = DockerSetup(tmp_path, docker_args=flags, memory_limit="200m", cpus=0.5, network="bridge")
    (handle,) = setup.submit(setup.job(setup.step("a.0", "assert os.environ['FLAG'] == 'yes'")))
    container = engine().containers.get(f"{handle.name}-a.0")
    config = container.attrs["HostConfig"]
    assert container.labels["team"] == "x"
    setup.wait(handle)
    setup.close()
    assert config["ShmSize"] == 16 * 2**20
    assert config["Memory"] == 200 * 2**20
    assert config["NanoCpus"] == 500_000_000
    assert config["Ulimits"] == [{"Name": "nofile", "Soft": 1000, "Hard": 2000}]
    assert config["ExtraHosts"] == ["there:10.0.0.1"]
    assert config["NetworkMode"] == "bridge"
