"""Fixtures for whatever talks to the stand-in of Lepton."""

from collections.abc import Iterator

import pytest

from tests.lepton.storage import Storage, served


@pytest.fixture(autouse=True)
def fresh_flags() -> Iterator[None]:
    """The SDK remembers for the life of a process which family a URL has; ports are used again."""
    from leptonai.api.v2 import reset_new_deployment_api_flag_cache  # noqa: PLC0415 (two seconds)

    reset_new_deployment_api_flag_cache()
    yield
    reset_new_deployment_api_flag_cache()


@pytest.fixture(scope="session")
def storage_server() -> Iterator[Storage]:
    """One S3 server for all tests of a process."""
    with served() as found:
        yield found


@pytest.fixture
def storage(storage_server: Storage) -> Storage:
    """An S3 server on loopback with an empty bucket."""
    storage_server.clear()
    return storage_server
