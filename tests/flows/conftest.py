"""One Prefect server and one worker for all tests of the flows."""

from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from threading import Thread

import pytest

from tests.fake_harness.fake_harness import Handler
from tests.flows.stack import Stack


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running server with our deployments and a worker."""
    stack = Stack(tmp_path_factory.mktemp("prefect"))
    try:
        stack.start_server()
        stack.set_up()
        stack.start_worker()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def stack(shared_stack: Stack) -> Stack:
    """The one stack of all tests, whole: a test that killed a part and then failed takes no other one with it."""
    shared_stack.mend()
    return shared_stack


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """A model endpoint that answers."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
    server.shutdown()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the environments of the process backend are kept."""
    return str(tmp_path_factory.mktemp("environments"))
