"""The progress table while something else stands in the place of the API: late, and no more."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from uuid import UUID

import pytest
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_CSRF_SUPPORT_ENABLED, temporary_settings

from proctor.blocks.job import JobState
from proctor.tasks.api import prompt_api
from proctor.tasks.publish import publish_progress
from proctor.tasks.records import EvaluationRun
from proctor.tasks.watch import Watcher
from tests.tasks.test_watch import Scripted, planned

RUN = EvaluationRun(UUID("0199aaaa-bbbb-7ccc-8ddd-eeee0000abcd"), datetime.now(UTC), ())


@pytest.fixture
def gateway() -> Iterator[tuple[str, list[str]]]:
    """The address of a gateway that answers its login page to everything, and what it was asked for."""
    asked: list[str] = []

    class Login(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>please log in</html>")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Login)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/api", asked
    server.shutdown()


def test_an_answer_that_is_nonsense_never_fails_an_evaluation(gateway: tuple[str, list[str]]) -> None:
    url, asked = gateway

    async def publish() -> None:
        config, what = planned()
        done = asyncio.Event()
        done.set()
        async with prompt_api(), Watcher.watching(Scripted(script=[JobState.RUNNING]), config, what) as watcher:
            await publish_progress(RUN, watcher, done)

    settings = {PREFECT_API_URL: url, PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False}
    with temporary_settings(settings), disable_run_logger():
        asyncio.run(publish())
    assert "/api/artifacts/" in asked
