"""The real Docker engine of the live tests, and the image that holds tests/fake_harness."""

import hashlib
import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import cast

import docker
from docker.errors import DockerException, ImageNotFound

from tests.conftest import unavailable

HARNESS = Path(__file__).parent / "fake_harness" / "fake_harness.py"
DOCKERFILE = """FROM proctor-test/base:1
COPY fake_harness.py /opt/fake_harness.py
RUN printf '#!/bin/sh\\nexec python3 -c "import sys; sys.path.insert(0, \\\\"/opt\\\\"); import fake_harness; \
fake_harness.main()" "$@"\\n' >/usr/local/bin/nemo-evaluator \\
 && printf '#!/bin/sh\\nexec python3 -c "import sys; sys.path.insert(0, \\\\"/opt\\\\"); import fake_harness; \
fake_harness.serve()" "$@"\\n' >/usr/local/bin/fake-server \\
 && chmod 755 /usr/local/bin/*
"""


@cache
def engine() -> docker.DockerClient:
    """A client of the engine; skips (in CI fails) the test where none answers."""
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        unavailable(f"no Docker engine answers here ({error}); `scripts/services` starts one")
    return client


def require_image(name: str) -> str:
    """An image of `scripts/build-images`; skips (in CI fails) the test where it is not built."""
    try:
        engine().images.get(name)
    except ImageNotFound:
        unavailable(f"the image {name} is not built; `scripts/services` builds it")
    return name


@cache
def fake_harness_image() -> str:
    """An image whose `nemo-evaluator` is tests/fake_harness."""
    require_image("proctor-test/base:1")
    content = HARNESS.read_bytes() + DOCKERFILE.encode()
    tag = f"proctor-test/fake:{hashlib.sha256(content).hexdigest()[:12]}"
    try:
        engine().images.get(tag)
    except ImageNotFound:
        engine().images.build(fileobj=context(), custom_context=True, tag=tag, rm=True, network_mode="none")
    return tag


def unpack(image: str, folder: Path) -> None:
    """The files of an image in a folder, as a container would see them."""
    container = engine().containers.create(image)
    try:
        content = b"".join(cast(Iterator[bytes], container.export()))
    finally:
        container.remove()
    subprocess.run(["tar", "-xf", "-", "-C", folder], input=content, check=True)
    shutil.rmtree(folder / "dev")
    (folder / "dev").mkdir()


def context() -> io.BytesIO:
    """The build context as a tar archive."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in (("Dockerfile", DOCKERFILE.encode()), ("fake_harness.py", HARNESS.read_bytes())):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    archive.seek(0)
    return archive
