"""Containers inside real Slurm jobs: Docker under sbatch, with the real harness and a real model as the deployment."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from proctor.blocks.job import Container, EnvVar, JobHandle, JobState, Mount, Server, Step
from proctor.blocks.slurm.block import SlurmBackend
from proctor.blocks.stage_files import lost
from tests.blocks.slurm.test_contract import SlurmSetup
from tests.blocks.slurm.test_faults import submit
from tests.cluster import USER, as_user, execution
from tests.conftest import unavailable
from tests.contract import WEIRD
from tests.engine import engine, fake_harness_image, require_image, unpack
from tests.flows.stack import free_port
from tests.waiting import wait_for

pytestmark = pytest.mark.live


class DockerSetup(SlurmSetup):
    """Steps in containers of Docker inside the allocation."""

    results = "/results"

    def backend(self) -> SlurmBackend:
        return SlurmBackend(execution=execution(container_runtime="docker"))

    def container(self, *env: EnvVar) -> Container:
        return Container(image=fake_harness_image(), env=env)

    def containers(self, handle: JobHandle) -> list[str]:
        found = engine().containers.list(all=True, ignore_removed=True, filters={"label": f"proctor.job={handle.name}"})
        return [str(container.name) for container in found]

    def leftovers(self, handle: JobHandle) -> list[str]:
        return self.containers(handle) + as_user("squeue", "-h", "-n", handle.name).split()


@pytest.fixture
def setup(cluster_home: Path) -> Iterator[DockerSetup]:
    engine()
    setup = DockerSetup(cluster_home)
    yield setup
    setup.close()


def test_steps_run_in_containers_as_their_user(setup: DockerSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "canary-4711")
    script = "(out / 'seen').write_text(os.environ['WEIRD']); assert os.environ['TOKEN'] == 'canary-%d' % 4711"
    step = setup.step("a.0", script, EnvVar("WEIRD", "lit", WEIRD), EnvVar("TOKEN", "host", "CANARY"))
    (handle,) = setup.submit(setup.job(step, setup.step("b.1")))
    status = setup.wait(handle)
    assert status.state is JobState.COMPLETED, status
    assert (setup.folder / "a.0" / "seen").read_text() == WEIRD
    assert (setup.folder / "a.0" / "results.yml").owner() == "proctor"
    assert status.image_digests["a.0"] == engine().images.get(fake_harness_image()).id, "no registry has it"
    setup.until(handle, lambda _: setup.leftovers(handle) == [], 30)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The address of a registry that lets everybody in."""
    program, port = shutil.which("docker-registry"), free_port()
    if program is None:
        unavailable("docker-registry is not installed; `scripts/services` installs it")
    storage = {"filesystem": {"rootdirectory": str(tmp_path / "registry")}}
    settings = {"version": 0.1, "storage": storage, "http": {"addr": f"127.0.0.1:{port}"}}
    (tmp_path / "registry.json").write_text(json.dumps(settings))  # which YAML is too
    with (tmp_path / "registry.log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(tmp_path / "registry.json")], stdout=log, stderr=log)
    try:
        wait_for(lambda: listens(port))
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_an_image_by_tag_is_known_by_the_digest_of_its_own_repository(setup: DockerSetup, registry: str) -> None:
    image, names = engine().images.get(fake_harness_image()), [f"{registry}/a-first", f"{registry}/fake"]
    for name in names:
        image.tag(name, "1")
        engine().images.push(name, "1")
    try:
        step = replace(setup.step("a.0"), container=Container(image=f"{names[1]}:1"))
        (handle,) = setup.submit(setup.job(step))
        told = setup.wait(handle).image_digests["a.0"]
        assert told.startswith(f"{names[1]}@sha256:"), "and not by that of another name"
        engine().images.pull(told)
        assert engine().images.get(told).id == image.id
    finally:
        for name in names:
            engine().images.remove(f"{name}:1")


def test_odd_paths_are_mounted(setup: DockerSetup) -> None:
    setup.folder = setup.folder / """it's a "$HOME"; ünï,x"""
    (handle,) = setup.submit(setup.job(setup.step("a.0")))
    assert setup.wait(handle).state is JobState.COMPLETED


def test_odd_mounts_of_the_user_arrive(setup: DockerSetup, shared: Path) -> None:
    source = shared / """it's a "$HOME"; ünï,x"""
    as_user("mkdir", str(source))
    (source / "data").write_text("here")
    mount = Mount(str(source), '/data/it\'s "so"', read_only=True)
    step = setup.step("a.0", """assert open('/data/it\\'s "so"/data').read() == 'here'""")
    step = replace(step, container=replace(step.container, mounts=(mount,)))
    (handle,) = setup.submit(setup.job(step))
    status = setup.wait(handle)
    assert status.state is JobState.COMPLETED, (setup.folder / "a.0" / "harness.log").read_text()


HOG = "held = [bytearray(50_000_000) for _ in range(40)]"


@pytest.mark.parametrize("who", ["benchmark", "server"])
def test_a_container_has_no_more_memory_than_its_job(setup: DockerSetup, who: str) -> None:
    """Docker starts it outside of the job, where Slurm limits nothing."""
    backend = SlurmBackend(execution=execution(container_runtime="docker", memory="400M"))
    server = None
    if who == "server":
        server = setup.server(
            f"""sh -c 'fake-server "$1" & until [ -e /proctor/job/a.0/stage.running ]; do sleep 0.2; done; python3 -c "{HOG}"; exit 1' serve {{port}}"""
        )
    job = setup.job(setup.step("a.0", HOG if who == "benchmark" else "time.sleep(100)"), server=server)
    (handle,) = submit(backend, setup, job)
    status = setup.wait(handle).steps["a.0"]
    assert status.state is JobState.FAILED
    assert not lost(status), "it would happen again"
    assert "out of memory" in status.message, status
    assert "execution.memory" in status.message
    assert ("server died" in status.message) is (who == "server")
    setup.until(handle, lambda _: setup.leftovers(handle) == [], 30)


def test_cancelling_leaves_no_container(setup: DockerSetup) -> None:
    server = setup.server("fake-server {port} 0")
    job = setup.job(setup.step("a.0", "time.sleep(100)"), setup.step("b.1"), server=server)
    (handle,) = setup.submit(job)
    setup.until(handle, lambda status: status.steps["a.0"].state is JobState.RUNNING)
    assert len(setup.containers(handle)) >= 2
    status = setup.backend().cancel([handle])[handle]
    assert {step.state for step in status.steps.values()} == {JobState.CANCELLED}
    assert setup.leftovers(handle) == []


def test_scancel_by_hand_leaves_no_container_either(setup: DockerSetup) -> None:
    (handle,) = setup.submit(setup.job(setup.step("a.0", "time.sleep(100)")))
    setup.until(handle, lambda status: status.steps["a.0"].state is JobState.RUNNING)
    as_user("scancel", handle.native_id)
    assert setup.wait(handle).steps["a.0"].state is JobState.CANCELLED
    setup.until(handle, lambda _: setup.leftovers(handle) == [], 30)


def test_an_image_that_is_not_there_is_told(setup: DockerSetup) -> None:
    step = replace(setup.step("a.0"), container=Container(image="proctor-test/nothing:1"))
    (handle,) = setup.submit(setup.job(step, setup.step("b.1")))
    status = setup.wait(handle)
    assert "proctor-test/nothing:1 cannot be pulled" in status.steps["a.0"].message
    assert status.steps["b.1"].state is JobState.COMPLETED


def test_the_real_harness_measures_a_real_model_in_one_allocation(setup: DockerSetup, tmp_path: Path) -> None:
    model, harness = require_image("proctor-test/model:1"), require_image("proctor-test/eval:1")
    port = setup.server("{port}").port
    command = f"python3 /opt/model/serve.py --port {port} --model-name tiny"
    server = Server("generic", Container(image=model), command, port, "tiny", ready_timeout=120)
    steps = [
        real_step(f"mmath_{language}.{index}", language, port, harness) for index, language in enumerate(("en", "zh"))
    ]
    (handle,) = setup.submit(setup.job(*steps, server=server))
    status = setup.wait(handle, 300)
    logs = "".join(path.read_text() for path in setup.folder.glob("*/harness.log"))
    assert status.state is JobState.COMPLETED, (status, logs[-2000:])
    assert status.server
    assert status.server.state is JobState.RUNNING
    for step in steps:
        folder = setup.backend().fetch(handle, step.name, tmp_path)
        assert "results" in yaml.safe_load((folder / "results.yml").read_text())
    assert len(as_user("squeue", "-h", "-t", "all", "-n", handle.name, "-o", "%i").split()) == 1
    setup.until(handle, lambda _: setup.leftovers(handle) == [], 30)


def real_step(name: str, language: str, port: int, image: str) -> Step:
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    params = {
        "limit_samples": 1,
        "max_new_tokens": 8,
        "parallelism": 1,
        "request_timeout": 120,
        "extra": {"n_samples": 1},
    }
    document = {
        "config": {"type": f"mmath_{language}", "output_dir": "/results", "params": params},
        "target": {"api_endpoint": {"url": url, "model_id": "tiny", "type": "chat", "api_key_name": "FX_KEY"}},
    }
    container = Container(image=image, env=(EnvVar("FX_KEY", "lit", "none"),))
    return Step(name, f"mmath.mmath_{language}", container, yaml.safe_dump(document), url)


class CharliecloudSetup(SlurmSetup):
    """Steps in an unpacked image that ch-run enters."""

    results = "/results"

    def __init__(self, home: Path, image: Path) -> None:
        super().__init__(home)
        self.image = image

    def backend(self) -> SlurmBackend:
        return SlurmBackend(execution=execution(container_runtime="charliecloud", mount_home=False))

    def container(self, *env: EnvVar) -> Container:
        return Container(image=str(self.image), env=env)


@pytest.fixture
def unpacked(shared: Path) -> Path:
    """The fake harness's image as a folder of the cluster, as `ch-convert` leaves one."""
    if not shutil.which("ch-run"):
        unavailable("charliecloud is not installed; `scripts/services` installs it")
    folder = shared / "image.dir"
    as_user("mkdir", str(folder))
    unpack(fake_harness_image(), folder)
    (folder / "ch").mkdir(exist_ok=True)
    (folder / "ch" / "environment").write_text("PATH=/usr/local/bin:/usr/bin:/bin\n")
    subprocess.run(["chown", "-R", f"{USER}:", folder], check=True)
    return folder


def test_charliecloud_runs_steps_and_a_server(
    cluster_home: Path, unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "canary-4711")
    setup = CharliecloudSetup(cluster_home, unpacked)
    try:
        script = "(out / 'seen').write_text(os.environ['WEIRD']); assert os.environ['TOKEN'] == 'canary-%d' % 4711"
        step = setup.step("a.0", script, EnvVar("WEIRD", "lit", WEIRD), EnvVar("TOKEN", "host", "CANARY"))
        (handle,) = setup.submit(setup.job(step, setup.step("b.1"), server=setup.server("fake-server {port}")))
        status = setup.wait(handle)
        logs = "".join(path.read_text() for path in setup.folder.glob("*/harness.log"))
        assert status.state is JobState.COMPLETED, (status, logs)
        assert (setup.folder / "a.0" / "seen").read_text() == WEIRD
        assert status.server
        assert status.server.state is JobState.RUNNING
    finally:
        setup.close()
