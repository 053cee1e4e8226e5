"""Images in real jobs without Docker: imported once, whoever asks at the same time, and entered with the image's own PATH."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from proctor.blocks.job import Container, EnvVar, JobHandle, JobState
from proctor.blocks.slurm.answer import COMMAND_TIMEOUT, Answer
from proctor.blocks.slurm.block import SlurmBackend
from proctor.blocks.slurm.cluster import MADE, connection, login
from proctor.configs.execution_schema import SlurmExecution
from tests.blocks.slurm.test_contract import SlurmSetup
from tests.cluster import SSH_PORT, USER, as_user, execution, ssh_config
from tests.conftest import unavailable
from tests.contract import WEIRD
from tests.engine import fake_harness_image, unpack

pytestmark = pytest.mark.live

RUNTIME = Path(__file__).parents[2] / "fake_runtimes" / "runtime.py"
ONLY_IN_THE_IMAGE = "/opt/harness/deep/bin"
DIGEST = "@sha256:" + "5b" * 32


@dataclass
class OnPath:
    """A cluster whose login shell has a folder of programs first on its PATH."""

    section: SlurmExecution
    folder: Path
    commands: int = 0
    opened: int = 0

    def __post_init__(self) -> None:
        self.real = connection(login(self.section))

    def run(self, command: str, stdin: bytes = b"", *, timeout: float = COMMAND_TIMEOUT) -> Answer:
        return self.real.run(f"export PATH={self.folder}:$PATH; {command}", stdin, timeout=timeout)

    def stream(self, command: str, stdin: bytes = b"", *, silence: float | None = None) -> Iterator[bytes]:
        return self.real.stream(command, stdin, silence=silence)

    def close(self) -> None:
        self.real.close()


class ImageSetup(SlurmSetup):
    """Steps in an image that has to be imported first."""

    results = "/results"
    image = f"registry.example/eval/fake:1{DIGEST}"

    def __init__(self, home: Path, section: SlurmExecution) -> None:
        super().__init__(home)
        self.section = section

    def backend(self) -> SlurmBackend:
        return SlurmBackend(execution=self.section)

    def container(self, *env: EnvVar) -> Container:
        return Container(image=self.image, env=env)


@pytest.fixture
def unpacked(shared: Path) -> Path:
    """The fake harness's image as a folder of the cluster; its harness is where only its own PATH says."""
    if not shutil.which("ch-run"):
        unavailable("charliecloud is not installed; `scripts/services` installs it")
    folder = shared / "image.dir"
    as_user("mkdir", str(folder))
    unpack(fake_harness_image(), folder)
    place = folder / ONLY_IN_THE_IMAGE.lstrip("/")
    place.mkdir(parents=True)
    for name in ("nemo-evaluator", "fake-server"):
        (folder / "usr" / "local" / "bin" / name).rename(place / name)
    (folder / "ch").mkdir()
    for name in ("etc", "ch"):
        (folder / name / "environment").write_text(f'PATH="{ONLY_IN_THE_IMAGE}:/usr/local/bin:/usr/bin:/bin"\n')
    subprocess.run(["chown", "-R", f"{USER}:", folder], check=True)
    return folder


@pytest.fixture
def programs(shared: Path, unpacked: Path) -> Path:
    """Stand-ins for enroot, apptainer and srun with pyxis."""
    folder = shared / "programs"
    as_user("mkdir", str(folder))
    for name in ("enroot", "apptainer", "srun"):
        shutil.copy(RUNTIME, folder / name)
        (folder / name).chmod(0o755)
    (folder / "unpacked").write_text(f"{unpacked}\n")
    return folder


@pytest.fixture(params=["pyxis", "apptainer"])
def setup(
    request: pytest.FixtureRequest, cluster_home: Path, shared: Path, programs: Path, tmp_path: Path
) -> Iterator[ImageSetup]:
    section = execution(
        container_runtime=request.param,
        mount_home=False,
        image_cache=str(shared / "images"),
        ssh_config=ssh_config(tmp_path, SSH_PORT),
    )
    MADE[login(section)] = OnPath(section, programs)
    setup = ImageSetup(cluster_home, section)
    setup.folder = setup.folder.with_name("out")
    yield setup
    setup.close()
    MADE.pop(login(section)).close()


def imports(programs: Path) -> list[str]:
    return [line.split()[0] for line in (programs / "imports").read_text().splitlines()]


def submit(setup: ImageSetup, number: int) -> list[JobHandle]:
    """So many jobs at once, each in a folder of its own."""
    jobs = []
    for index in range(number):
        setup.folder = setup.folder.with_name(f"out{index}")
        jobs.append(setup.job(setup.step("a.0")))
    return setup.submit(*jobs)


def test_a_tag_is_no_digest(setup: ImageSetup) -> None:
    setup.image = "registry.example/eval/fake:1"
    (handle,) = submit(setup, 1)
    status = setup.wait(handle)
    assert status.state is JobState.COMPLETED, status
    assert dict(status.image_digests) == {}, "what it meant at that time nobody here can tell"


def test_jobs_that_start_together_import_an_image_once(setup: ImageSetup, programs: Path, shared: Path) -> None:
    for handle in submit(setup, 4):
        status = setup.wait(handle)
        assert status.state is JobState.COMPLETED, (status, log(handle))
        assert DIGEST in status.image_digests["a.0"]
    assert imports(programs) == ["begin", "end"]
    files = {path.name for path in (shared / "images").iterdir() if not path.name.startswith(".")}
    assert not [name for name in files if ".part" in name]


def log(handle: JobHandle) -> str:
    return "".join(path.read_text() for path in Path(handle.output_dir).glob("*/harness.log"))


def test_a_server_and_its_steps_run_in_the_image_with_its_path(setup: ImageSetup) -> None:
    step = setup.step("a.0", "(out / 'seen').write_text(os.environ['WEIRD'])", EnvVar("WEIRD", "lit", WEIRD))
    (handle,) = setup.submit(setup.job(step, server=setup.server("fake-server {port}")))
    status = setup.wait(handle)
    assert status.state is JobState.COMPLETED, (status, log(handle))
    assert (setup.folder / "a.0" / "seen").read_text() == WEIRD
    assert status.server
    assert status.server.state is JobState.RUNNING


def test_an_import_that_fails_is_told_and_left_for_the_next_job(setup: ImageSetup, programs: Path) -> None:
    (programs / "unpacked").rename(programs / "gone")
    (handle,) = submit(setup, 1)
    status = setup.wait(handle)
    assert "cannot be imported" in status.steps["a.0"].message
    (programs / "gone").rename(programs / "unpacked")
    (handle,) = submit(setup, 1)
    assert setup.wait(handle).state is JobState.COMPLETED, log(handle)


def test_what_a_tag_named_is_kept_for_its_evaluation_and_removed_when_nobody_uses_it(
    setup: ImageSetup, programs: Path, shared: Path
) -> None:
    setup.image = "registry.example/eval/fake:latest"
    (first,) = submit(setup, 1)
    assert setup.wait(first).state is JobState.COMPLETED, log(first)
    (kept,) = (shared / "images").glob("*.tag-*.s*[fh]")
    subprocess.run(["touch", "-d", "20 days ago", str(kept)], check=True)
    (second,) = submit(setup, 1)
    assert setup.wait(second).state is JobState.COMPLETED, log(second)
    assert not kept.exists()
    assert imports(programs) == ["begin", "end"] * 2


def test_jobs_import_at_the_same_time_where_locks_end_at_the_node(
    setup: ImageSetup, programs: Path, shared: Path
) -> None:
    (programs / "flock").write_text("#!/bin/sh\nexit 0\n")
    (programs / "flock").chmod(0o755)
    for handle in submit(setup, 3):
        assert setup.wait(handle).state is JobState.COMPLETED, log(handle)
    assert len(imports(programs)) > 2, "they did meet"
    assert not list((shared / "images").glob("*.part*"))


def test_an_odd_name_of_an_image_file_is_entered(setup: ImageSetup, programs: Path, shared: Path) -> None:
    image = shared / """-it's a "$HOME"; ünï.img"""
    image.write_text((programs / "unpacked").read_text())
    setup.image = str(image)
    (handle,) = submit(setup, 1)
    assert setup.wait(handle).state is JobState.COMPLETED, log(handle)
