"""Object storage on loopback: a real S3 server in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

KEY = "an-access-key"
SECRET = "a-secret-key"


@dataclass(frozen=True)
class Storage:
    """A bucket, and how fsspec and s3fs are told to reach it."""

    endpoint: str
    """The server's URL."""
    bucket: str = "results"
    key: str = KEY
    secret: str = SECRET

    @property
    def url(self) -> str:
        """A folder for results, as fsspec writes it."""
        return f"s3://{self.bucket}/evaluations"

    @property
    def options(self) -> dict[str, Any]:
        """What fsspec is given besides the URL."""
        return {
            "key": self.key,
            "secret": self.secret,
            "endpoint_url": self.endpoint,
            "client_kwargs": {"region_name": "us-east-1"},
        }

    @property
    def env(self) -> dict[str, str]:
        """The variables that every S3 client reads."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def clear(self) -> None:
        """Make the bucket anew; nothing else is left."""
        requests.post(f"{self.endpoint}/moto-api/reset", timeout=10).raise_for_status()
        requests.put(f"{self.endpoint}/{self.bucket}", timeout=10).raise_for_status()


@contextmanager
def served() -> Iterator[Storage]:
    """An S3 server for as long as it is needed, with an empty bucket."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 (a second)

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    found = Storage(f"http://{host}:{port}")
    try:
        found.clear()
        yield found
    finally:
        server.stop()
