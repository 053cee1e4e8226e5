"""What `proctor run` leaves behind when it is interrupted between creating a run and letting it go."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from uuid import uuid4

import pytest

from proctor.cli import start
from proctor.cli.address import Address
from proctor.cli.api import PrefectApi
from proctor.cli.errors import CommandError
from proctor.configs.host_env import env_file
from proctor.configs.schema import EvaluationConfig

RUN = str(uuid4())


class Refusing(BaseHTTPRequestHandler):
    """A server that creates runs, and lets none of them be scheduled."""

    states: ClassVar[list[dict[str, Any]]] = []

    def do_GET(self) -> None:
        self.answer(200, {"id": "d"})

    def do_PATCH(self) -> None:
        self.read()
        self.answer(200, {})

    def do_POST(self) -> None:
        body = self.read()
        if not self.path.endswith("/set_state"):
            self.answer(201, {"id": RUN})
            return
        self.states.append(body["state"])
        self.answer(409 if body["state"]["type"] == "SCHEDULED" else 201, {"detail": "no"})

    def read(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def refusing() -> Iterator[PrefectApi]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    Thread(target=server.serve_forever, daemon=True).start()
    yield PrefectApi(Address(f"http://127.0.0.1:{server.server_port}/api", "test"))
    server.shutdown()


def test_a_run_that_was_not_let_go_is_cancelled(
    refusing: PrefectApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROCTOR_HOME", str(tmp_path))
    config = EvaluationConfig.model_validate({"evaluation": {"tasks": [{"name": "mmath_en"}]}})
    with pytest.raises(CommandError):
        start.create(refusing, config, "tiny", {"TOKEN": "secret"})
    assert [state["type"] for state in Refusing.states] == ["SCHEDULED", "CANCELLED"]
    assert "interrupted" in Refusing.states[1]["message"]
    assert not env_file(RUN.replace("-", "")[-8:]).exists()
