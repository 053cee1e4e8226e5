"""Images come from a real registry: with a login that a Secret block holds, by digest, and the digest that ran is in the results."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import pytest
from docker.errors import ImageNotFound

from tests.conftest import unavailable
from tests.engine import engine, fake_harness_image
from tests.flows.stack import Stack, free_port
from tests.waiting import wait_for

pytestmark = pytest.mark.live

LOGIN = {"username": "me", "password": "canary-login-4711"}
SAVE = "import sys; from prefect.blocks.system import Secret; Secret(value=sys.stdin.read()).save('registry', overwrite=True)"


@dataclass(frozen=True)
class Registry:
    """A registry on loopback that asks for a login, with one image."""

    repository: str
    digest: str

    def forget(self) -> None:
        """Take its image away from the engine."""
        for image in engine().images.list():
            names = [*image.tags, *(image.attrs.get("RepoDigests") or [])]
            for name in [each for each in names if each.startswith(self.repository)]:
                with suppress(ImageNotFound):  # the last tag takes the digest with it
                    engine().images.remove(name, force=True)

    def is_here(self) -> bool:
        found = [name for image in engine().images.list() for name in image.attrs.get("RepoDigests") or []]
        return f"{self.repository}@{self.digest}" in found


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """The program of Debian's docker-registry package, with the image of the fake harness in it."""
    program = shutil.which("docker-registry")
    if program is None:
        unavailable("docker-registry is not installed; `scripts/services` installs it")
    folder, port = tmp_path_factory.mktemp("registry"), free_port()
    secret = bcrypt.hashpw(LOGIN["password"].encode(), bcrypt.gensalt(5)).decode()
    (folder / "users").write_text(f"{LOGIN['username']}:{secret}\n")
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "auth": {"htpasswd": {"realm": "tests", "path": str(folder / "users")}},
    }
    (folder / "config.json").write_text(json.dumps(settings))  # which YAML is too
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(folder / "config.json")], stdout=log, stderr=log)
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/v2/"))
        made = pushed(f"127.0.0.1:{port}/fake")
        yield made
        made.forget()
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 401
    except httpx.HTTPError:
        return False


def pushed(repository: str) -> Registry:
    """The image of the fake harness there, and no more on the engine by that name."""
    engine().images.get(fake_harness_image()).tag(repository, "1")
    said = list(engine().api.push(repository, "1", stream=True, decode=True, auth_config=LOGIN))
    assert not [line for line in said if "error" in line], said
    digest = next(line["aux"]["Digest"] for line in said if "aux" in line)
    made = Registry(repository, digest)
    made.forget()
    assert not made.is_here()
    return made


def save(stack: Stack, login: dict[str, str]) -> None:
    """Put a login where teams put it."""
    text = json.dumps(login)
    subprocess.run([sys.executable, "-c", SAVE], input=text, text=True, env=stack.env, cwd=stack.home, check=True)


def config(folder: Path, endpoint: str, image: str) -> dict[str, Any]:
    return {
        "execution": {"type": "local", "output_dir": str(folder), "registry_auth": "registry"},
        "target": {"api_endpoint": {"url": endpoint, "model_id": "fake-model"}},
        "evaluation": {"trust_unlisted": True, "tasks": [{"name": "fake.alpha", "container": image}]},
    }


def test_an_image_by_digest_behind_a_login(stack: Stack, registry: Registry, endpoint: str, tmp_path: Path) -> None:
    save(stack, LOGIN)
    registry.forget()
    image = f"{registry.repository}@{registry.digest}"
    run = stack.start("local", config(tmp_path, endpoint, image))
    assert run.until() == "Completed", run.message
    (found,) = json.loads((run.folder / "results.json").read_text())["benchmarks"]
    assert found["provenance"]["image_digest"] == image
    assert found["provenance"]["isolation"] == "container"
    assert registry.is_here()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if LOGIN["password"].encode() in path.read_bytes()]


def test_a_wrong_login_is_refused_with_what_to_do(
    stack: Stack, registry: Registry, endpoint: str, tmp_path: Path
) -> None:
    save(stack, {**LOGIN, "password": "wrong"})
    registry.forget()
    run = stack.start("local", config(tmp_path, endpoint, f"{registry.repository}:1"))
    assert run.until() == "Failed"
    assert "execution.registry_auth" in run.message
    assert not registry.is_here()
