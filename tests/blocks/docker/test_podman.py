"""Podman's socket in place of Docker's: it speaks the same API, with words of its own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from proctor.blocks.job import JobHandle, JobState
from tests.blocks.docker.test_block import DockerSetup
from tests.conftest import unavailable
from tests.engine import engine, fake_harness_image
from tests.waiting import wait_for

pytestmark = pytest.mark.live


class PodmanSetup(DockerSetup):
    """Jobs as containers of Podman."""

    def __init__(self, folder: Path, client: docker.DockerClient, address: str) -> None:
        super().__init__(folder, docker_host=address, network="host")
        self.client = client

    def leftovers(self, handle: JobHandle) -> list[str]:
        found = self.client.containers.list(
            all=True, ignore_removed=True, filters={"label": f"proctor.job={handle.name}"}
        )
        return [each.name or "" for each in found]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The socket of a Podman service with a storage of its own that holds the image of the fake harness."""
    if os.geteuid() != 0 or shutil.which("podman") is None:
        unavailable("Podman is not installed, or we are not root; `scripts/services` installs it")
    image = engine().images.get(fake_harness_image())
    home = Path(tempfile.mkdtemp(prefix="podman-"))  # a short path: a socket's may have 107 characters
    command = ["podman", "--root", f"{home}/root", "--runroot", f"{home}/run", "--cgroup-manager", "cgroupfs"]
    # by itself Podman asks for more than a sandbox has
    (home / "containers.conf").write_text('[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n')
    environment = {**os.environ, "CONTAINERS_CONF": f"{home}/containers.conf"}
    service = subprocess.Popen([*command, "system", "service", "--time", "0", f"unix://{home}/socket"], env=environment)
    try:
        wait_for((home / "socket").exists)
        docker.DockerClient(base_url=f"unix://{home}/socket", timeout=120).images.load(b"".join(image.save(named=True)))
        yield f"unix://{home}/socket"
    finally:
        service.terminate()
        service.wait(20)
        subprocess.run([*command, "unmount", "--all"], capture_output=True, check=False)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def setup(address: str, tmp_path: Path) -> Iterator[PodmanSetup]:
    made = PodmanSetup(tmp_path, docker.DockerClient(base_url=address), address)
    yield made
    made.close()


def test_steps_run_as_containers_of_podman(setup: PodmanSetup) -> None:
    server = setup.server("fake-server {port}")
    (handle,) = setup.submit(setup.job(setup.step("a.0"), setup.step("b.1"), server=server))
    status = setup.wait(handle)
    assert status.state is JobState.COMPLETED, status
    assert (setup.folder / "b.1" / "results.yml").exists()
    setup.backend().cancel([handle])
    assert setup.leftovers(handle) == []


def test_cancelling_leaves_no_container_of_podman(setup: PodmanSetup) -> None:
    (handle,) = setup.submit(setup.job(setup.step("a.0", "time.sleep(60)"), setup.step("b.1")))
    setup.until(handle, lambda status: status.steps["a.0"].state is JobState.RUNNING)
    status = setup.backend().cancel([handle])[handle]
    assert {step.state for step in status.steps.values()} == {JobState.CANCELLED}
    assert setup.leftovers(handle) == []
