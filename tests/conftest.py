"""Fixtures that every test may use."""

import os
from pathlib import Path
from typing import NoReturn

import pytest

pytest_plugins = ["tests.cluster", "tests.tracking"]

AREAS = {
    "slurm": ("blocks/slurm/", "flows/test_slurm"),
    "cli": ("cli/", "seeds/", "blocks/test_add_a_backend.py"),
    "engines": ("blocks/", "demo/", "lepton/", "tasks/", "flows/test_lepton"),
    "flows": ("",),
}
"""Live tests of one area share services (a Prefect server, the stack's port, the cluster) and run one after the other, the
areas side by side: most of their time they wait."""
HERE = Path(__file__).parent

REQUIRE_LIVE = os.environ.get("PROCTOR_REQUIRE_LIVE") == "1"


def area(path: Path) -> str:
    """The first area that a test's file belongs to."""
    place = path.relative_to(HERE).as_posix()
    return next(name for name, beginnings in AREAS.items() if place.startswith(beginnings))


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tell pytest-xdist (`--dist loadgroup`) what stays together."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(area(item.path)))


def unavailable(reason: str) -> NoReturn:
    """Skip a live test with its reason, or fail it where live services are required (CI)."""
    if REQUIRE_LIVE:
        pytest.fail(f"PROCTOR_REQUIRE_LIVE=1, but {reason}")
    pytest.skip(reason)
