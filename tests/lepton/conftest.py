"""Fixtures for whatever talks to the stand-in of Lepton."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from proctor.blocks.lepton import connection
from tests.lepton.service import Service
from tests.lepton.storage import Storage, served

if TYPE_CHECKING:
    from leptonai.api.v2 import APIClient


@pytest.fixture(autouse=True)
def fresh_flags() -> Iterator[None]:
    """The SDK remembers for the life of a process which family a URL has, and we the clients; ports are used again."""
    from leptonai.api.v2 import reset_new_deployment_api_flag_cache  # noqa: PLC0415 (two seconds)

    reset_new_deployment_api_flag_cache()
    yield
    connection.MADE.clear()
    connection.HELD.clear()
    reset_new_deployment_api_flag_cache()


@pytest.fixture(params=["legacy", "new"])
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    """Both families of endpoints, one after the other."""
    with Service(request.param, deletion=0.05) as found:
        yield found


@pytest.fixture
def legacy() -> Iterator[Service]:
    """Where the family makes no difference."""
    with Service(deletion=0.05) as found:
        yield found


@pytest.fixture
def lepton(legacy: Service) -> "APIClient":
    """The real SDK's client of `legacy`."""
    from tests.lepton.sdk import client  # noqa: PLC0415 (two seconds)

    return client(legacy)


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
