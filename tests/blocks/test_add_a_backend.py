"""docs/add-a-backend.md as a reader would use it: extracted, installed, found, judged by the contract, run."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from importlib import import_module, invalidate_caches
from pathlib import Path
from threading import Thread

import pytest

from proctor.blocks.backend import Backend
from proctor.blocks.job import Container, EnvVar, JobHandle
from proctor.blocks.registry import make_backend
from proctor.configs.execution_schema import CustomExecution
from tests.cli.machine import Machine
from tests.cluster import SSHD
from tests.contract import RunningContract, Setup
from tests.engine import engine, fake_harness_image
from tests.fake_harness.fake_harness import Handler

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("undisturbed")]

PAGE = Path(__file__).parent.parent.parent / "docs" / "add-a-backend.md"
UV = str(Path(sys.executable).parent / "uv")


def files() -> dict[str, str]:
    """The files on the page, by name."""
    return dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```', PAGE.read_text(), re.M | re.S))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, cluster_home: Path) -> Iterator[Path]:
    """A folder with the installed package, which this process and its children see."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in ("ssh_docker.py", "pyproject.toml"):
        (source / name).write_text(files()[name])
    command = [UV, "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(site), str(source)]
    subprocess.run([*command, "--python", sys.executable], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("PYTHONPATH", str(site))
        invalidate_caches()
        yield site


class SshDockerSetup(Setup):
    """Containers of this machine's engine, reached as if it were another machine."""

    results = "/results"
    serves_models = False

    def backend(self) -> Backend:
        options = {"host": "cluster", "ssh_args": ["-F", str(SSHD / "ssh_config")]}
        return make_backend(CustomExecution(type="ssh-docker", endpoint_readiness_timeout=30, options=options))

    def container(self, *env: EnvVar) -> Container:
        return Container(image=fake_harness_image(), env=env)

    def leftovers(self, handle: JobHandle) -> list[str]:
        label = f"proctor.job={handle.name}"
        return [
            each.name or ""
            for each in engine().containers.list(all=True, ignore_removed=True, filters={"label": label})
        ]

    def murder(self, handle: JobHandle, step: str) -> None:
        engine().containers.get(f"{handle.name}-{step}").kill("KILL")


class TestSshDocker(RunningContract):
    @pytest.fixture
    def setup(self, tmp_path: Path, site: Path) -> Iterator[Setup]:
        yield SshDockerSetup(tmp_path)


def test_it_is_short() -> None:
    code = [line for line in files()["ssh_docker.py"].splitlines() if line.strip()]
    assert len(code) < 60
    assert max(map(len, code)) <= 120


def test_it_is_installed_as_a_package_of_its_own(site: Path) -> None:
    assert str(import_module("ssh_docker").__file__) == str(site / "ssh_docker.py")
    found = SshDockerSetup(site).backend()
    assert (type(found).__module__, found.get_block_type_slug()) == ("ssh_docker", "ssh-docker")


CONFIG = """
defaults: [{{deployment: none}}, _self_]
execution: {{output_dir: {output}, max_parallel: 2}}
target: {{api_endpoint: {{url: "ENDPOINT", model_id: fake-model}}}}
evaluation:
  trust_unlisted: true
  nemo_evaluator_config: {{config: {{params: {{extra: {{}}}}}}}}
  tasks:
    - {{name: fake.one, container: "IMAGE"}}
    - {{name: fake.two, container: "IMAGE"}}
"""


@pytest.fixture
def machine(site: Path, tmp_path: Path) -> Iterator[Machine]:
    """A machine of its own, because its worker must have been started with the package."""
    machine = Machine(tmp_path / "home", tmp_path / "work")
    machine.work.mkdir()
    yield machine
    machine.run("down")


def test_proctor_runs_an_evaluation_on_it(machine: Machine) -> None:
    """Also where the stack was there before the package."""
    assert machine.run("up", PYTHONPATH="").returncode == 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
    config = machine.config(CONFIG.replace("ENDPOINT", endpoint).replace("IMAGE", fake_harness_image()))
    group = machine.work / "execution"
    group.mkdir()
    text = files()["execution/ssh-docker.yaml"].replace("gpu-box}", f"cluster, ssh_args: ['-F', {SSHD}/ssh_config]}}")
    (group / "ssh-docker.yaml").write_text(text)
    chosen = ["run", "--config", config, "-o", "execution=ssh-docker"]
    shown = machine.run(*chosen, "--dry-run")
    assert "docker create --name" in shown.stdout, shown.stderr
    done = machine.run(*chosen)
    server.shutdown()
    assert done.returncode == 0, done.stderr
    (results,) = (machine.work / "results").glob("*/results.json")
    found = json.loads(results.read_text())
    assert found["execution"] == "ssh-docker"
    assert [each["scores"][0]["value"] for each in found["benchmarks"]] == [0.5, 0.5]
    assert f"{machine.json('ls', 'runs')[0]['backend']}" == "ssh-docker"


def test_a_backend_that_is_not_installed_is_told(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home", tmp_path)
    config = machine.config(CONFIG.replace("ENDPOINT", "http://127.0.0.1:9/v1/chat/completions"))
    done = machine.run("run", "--config", config, "-o", "execution.type=ssh-dcoker")
    assert done.returncode == 2
    assert "execution.type: there is no execution 'ssh-dcoker'" in done.stderr
