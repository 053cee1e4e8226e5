"""One Prefect server and one worker for all tests of the flows."""

from collections.abc import Iterator

import pytest

from tests.flows.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running server with our deployments and a worker; tests that kill parts of it start them again."""
    stack = Stack(tmp_path_factory.mktemp("prefect"))
    try:
        stack.start_server()
        stack.set_up()
        stack.start_worker()
        yield stack
    finally:
        stack.stop()
