"""Fixtures that every test may use."""

import os
from typing import NoReturn

import pytest

pytest_plugins = ["tests.cluster", "tests.tracking"]

REQUIRE_LIVE = os.environ.get("PROCTOR_REQUIRE_LIVE") == "1"


def unavailable(reason: str) -> NoReturn:
    """Skip a live test with its reason, or fail it where live services are required (CI)."""
    if REQUIRE_LIVE:
        pytest.fail(f"PROCTOR_REQUIRE_LIVE=1, but {reason}")
    pytest.skip(reason)
