"""A real MLflow server, for the tests of exporters, of the flow and of the command line."""

import os
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.flows.stack import end_tree, free_port
from tests.waiting import wait_for


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking server with a database and a folder for artifacts."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "DO_NOT_TRACK": "1"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=env)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: healthy(url), 300, 0.5)
        yield url
    finally:
        end_tree(process.pid)
        process.wait()


def healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
