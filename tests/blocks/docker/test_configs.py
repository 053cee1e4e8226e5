"""What a config says about containers, from the config to the real engine: mounts, data, memory, and each kind of server."""

import io
import tarfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from docker.errors import ImageNotFound

from proctor.blocks.docker.block import DockerBackend
from proctor.blocks.job import JobHandle, JobState, JobStatus
from proctor.configs.execution_schema import LocalExecution
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.plan import plan
from tests.blocks.docker.test_block import DockerSetup
from tests.engine import engine, fake_harness_image
from tests.fake_harness.fake_harness import Handler
from tests.flows.stack import free_port

pytestmark = pytest.mark.live

SERVERS = """FROM {base}
ENV PYTHONPATH=/opt
RUN printf '#!/bin/sh\\nport=8000\\nwhile [ $# -gt 0 ]; do [ "$1" != --port ] || port=$2; shift; done\\nexec fake-server $port\\n' \\
    >/usr/local/bin/vllm && chmod 755 /usr/local/bin/vllm && mkdir /opt/sglang \\
 && printf 'import os, sys\\nport = sys.argv[sys.argv.index("--port") + 1]\\nos.execvp("fake-server", ["fake-server", port])\\n' \\
    >/opt/sglang/launch_server.py
ENTRYPOINT ["sh", "-c", "exec fake-server $NIM_SERVER_PORT"]
"""
"""An image that starts as vLLM's, SGLang's and NVIDIA's do, with a small server in it."""


@cache
def servers_image() -> str:
    text, tag = SERVERS.format(base=fake_harness_image()), f"proctor-test/servers:{fake_harness_image()[-12:]}"
    try:
        engine().images.get(tag)
    except ImageNotFound:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            member = tarfile.TarInfo("Dockerfile")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
        archive.seek(0)
        engine().images.build(fileobj=archive, custom_context=True, tag=tag, rm=True, network_mode="none")
    return tag


@pytest.fixture
def endpoint() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
        server.shutdown()


def measured(tmp_path: Path, **sections: Any) -> JobStatus:
    """How the only job of a config ends; nothing of it is left."""
    execution = {"type": "local", "output_dir": str(tmp_path / "out"), "endpoint_readiness_timeout": 60}
    config = EvaluationConfig.model_validate({**sections, "execution": {**execution, **sections.get("execution", {})}})
    assert isinstance(config.execution, LocalExecution)
    (job,) = plan(config, uuid4().hex[:8], datetime.now(UTC)).jobs
    setup = DockerSetup(tmp_path)
    setup.execution = config.execution
    handle = setup.backend().submit([job])[job.name]
    assert isinstance(handle, JobHandle), handle
    setup.made.append(handle)
    status = setup.wait(handle)
    setup.close()
    assert setup.leftovers(handle) == []
    return status


def task(script: str, **more: Any) -> dict[str, Any]:
    tasks = [{"name": "fake.alpha", "container": fake_harness_image(), **more}]
    return {"trust_unlisted": True, "env_vars": {"FAKE_SCRIPT": f"lit:{script}"}, "tasks": tasks}


INSIDE = """
assert open('/mounted/x').read() == 'mounted'
assert open(os.environ['NEMO_EVALUATOR_DATASET_DIR'] + '/x').read() == 'data'
for place in ('/mounted', '/set'):
    try: open(place + '/y', 'w')
    except OSError: continue
    sys.exit(place + ' can be written')
assert os.statvfs('/dev/shm').f_blocks * os.statvfs('/dev/shm').f_frsize == 32 * 2**20
assert len(os.sched_getaffinity(0)) >= 1
"""


def test_mounts_data_and_shared_memory_are_there(tmp_path: Path, endpoint: str) -> None:
    for name in ("mounted", "data"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(name)
    status = measured(
        tmp_path,
        execution={"shm_size": "32m", "mounts": [f"{tmp_path}/mounted:/mounted:ro"]},
        target={"api_endpoint": {"url": endpoint, "model_id": "fake-model"}},
        evaluation=task(INSIDE, dataset_dir=f"{tmp_path}/data", dataset_mount_path="/set"),
    )
    log = next((tmp_path / "out").glob("*/alpha.0/harness.log")).read_text()
    assert status.state is JobState.COMPLETED, log


@pytest.mark.parametrize(
    "deployment",
    [
        {"type": "vllm", "hf_model_handle": "org/model"},
        {"type": "sglang", "hf_model_handle": "org/model"},
        {"type": "nim"},
    ],
    ids=lambda each: str(each["type"]),
)
def test_each_kind_of_server_is_started_and_asked_where_its_config_says(
    tmp_path: Path, deployment: dict[str, Any]
) -> None:
    port = free_port()
    ask = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}/v1/models').read()"
    status = measured(
        tmp_path,
        deployment={**deployment, "image": servers_image(), "port": port, "served_model_name": "fake-model"},
        evaluation=task(ask),
    )
    assert status.state is JobState.COMPLETED, status
    assert status.server
    assert status.image_digests["server"].endswith(str(engine().images.get(servers_image()).id))


def test_gpus_are_asked_for_by_number_and_by_name(tmp_path: Path) -> None:
    for gpus, words in (("device=0", "nvidia"), (1, "nvidia")):
        setup = DockerSetup(tmp_path, gpus=gpus)
        job = setup.job(setup.step("a.0"))
        assert words in str(DockerBackend(execution=setup.execution).submit([job])[job.name])
    without = DockerSetup(tmp_path / "without", gpus="none")
    (handle,) = without.submit(without.job(without.step("a.0")))
    assert without.wait(handle).state is JobState.COMPLETED
    without.close()
