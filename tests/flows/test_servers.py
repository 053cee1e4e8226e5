"""A server for every benchmark, where all of them would want the same port: one after the other."""

import json
import socket
from pathlib import Path

import pytest

from tests.flows.stack import Stack, free_port

pytestmark = pytest.mark.live
HARNESS = str(Path(__file__).parent.parent / "fake_harness")


@pytest.mark.parametrize("apart", [False, True], ids=["one server", "a server each"])
def test_servers_of_one_machine_take_turns(stack: Stack, tmp_path: Path, cache: str, apart: bool) -> None:
    port = free_port()
    tasks = [{"name": f"fake.{name}", "packages": [HARNESS]} for name in ("alpha", "beta")]
    config = {
        "execution": {
            "type": "process",
            "output_dir": str(tmp_path),
            "cache_dir": cache,
            "server_per_benchmark": apart,
            "endpoint_readiness_timeout": 60,
        },
        "deployment": {
            "type": "generic",
            "packages": [HARNESS],
            "port": port,
            "command": f"fake-server {port}",
            "served_model_name": "fake-model",
        },
        "evaluation": {"trust_unlisted": True, "tasks": tasks},
    }
    run = stack.start("process", config)
    assert run.until() == "Completed", run.message
    results = json.loads((run.folder / "results.json").read_text())
    assert [each["provenance"]["models_served"] for each in results["benchmarks"]] == [["fake-model"]] * 2
    assert (run.folder / "server" / "harness.log").read_text().count("fake server is up") == (2 if apart else 1)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "the server is gone"
