"""Fixtures that every test may use."""

import os
from typing import Any, NoReturn

import pytest
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.cluster", "tests.bare_cluster", "tests.tracking"]

AREAS = {
    "bare clusters": ("blocks/slurm/test_bare", "blocks/slurm/test_forgotten", "flows/test_slurm_bare"),
    "clouds": ("flows/test_lepton",),
    "restarts": ("flows/test_reattach",),
    "slurm": ("blocks/slurm/", "flows/test_slurm"),
    "cli": ("cli/", "seeds/", "blocks/test_add_a_backend.py", "flows/test_mlflow", "flows/test_team"),
    "engines": ("blocks/", "demo/", "lepton/", "tasks/"),
    "flows": ("",),
}
"""Live tests of one area share services (a Prefect server, the stack's port, the cluster) and run one after the other, the
areas side by side: most of their time they wait. The areas with the most tests come first, the others where one has ended."""

REQUIRE_LIVE = os.environ.get("PROCTOR_REQUIRE_LIVE") == "1"


def area(nodeid: str) -> str:
    """The first area that a test belongs to."""
    place = nodeid.removeprefix("tests/")
    return next(name for name, beginnings in AREAS.items() if place.startswith(beginnings))


class AreaScheduling(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types for it
    """Gives each area to one worker of pytest-xdist."""

    def _split_scope(self, nodeid: str) -> str:
        return area(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> AreaScheduling | None:
    """With `--dist loadscope` what stays together are the areas."""
    return AreaScheduling(config, log) if config.getvalue("dist") == "loadscope" else None


def unavailable(reason: str) -> NoReturn:
    """Skip a live test with its reason, or fail it where live services are required (CI)."""
    if REQUIRE_LIVE:
        pytest.fail(f"PROCTOR_REQUIRE_LIVE=1, but {reason}")
    pytest.skip(reason)
