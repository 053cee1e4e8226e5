"""The S3 server of the tests, through the client that brings results home."""

import fsspec
import pytest
import requests

from tests.lepton.storage import Storage


def test_what_is_uploaded_to_a_signed_address_is_read_back(storage: Storage) -> None:
    files, root = fsspec.core.url_to_fs(storage.url, **storage.options)
    address = files.sign(f"{root}/a/b.tar.gz", expiration=1000, client_method="put_object")
    assert address.startswith(f"{storage.endpoint}/{storage.bucket}/evaluations/a/b.tar.gz?")
    assert requests.put(address, b"packed", headers={"Content-Type": ""}, timeout=10).status_code == 200
    assert files.cat_file(f"{root}/a/b.tar.gz") == b"packed"


def test_every_test_has_an_empty_bucket(storage: Storage) -> None:
    files, root = fsspec.core.url_to_fs(storage.url, **storage.options, skip_instance_cache=True)
    assert files.find(storage.bucket) == []
    with pytest.raises(FileNotFoundError):
        files.cat_file(f"{root}/a/b.tar.gz")
