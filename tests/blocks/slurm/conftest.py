"""Jobs without containers on the test cluster, for every test here that brings no setup of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blocks.slurm.test_contract import SlurmSetup


@pytest.fixture
def setup(cluster_home: Path) -> Iterator[SlurmSetup]:
    setup = SlurmSetup(cluster_home)
    yield setup
    setup.close()
