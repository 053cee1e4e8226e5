"""Finding a backend by its execution type, and Prefect finding ours."""

import json
import subprocess
import sys

import pytest

from proctor.blocks.backend import Backend
from proctor.blocks.installed import installed
from proctor.blocks.registry import make_backend
from proctor.configs.execution_schema import LocalExecution, ProcessExecution, SimulatedExecution


@pytest.mark.parametrize(
    ("execution", "slug"),
    [
        (LocalExecution(), "proctor-docker"),
        (ProcessExecution(mode="parallel"), "proctor-process"),
        (SimulatedExecution(score=0.25), "proctor-simulated"),
    ],
)
def test_an_execution_section_becomes_its_backend(
    execution: LocalExecution | ProcessExecution | SimulatedExecution, slug: str
) -> None:
    backend = make_backend(execution)
    assert isinstance(backend, Backend)
    assert backend.get_block_type_slug() == slug
    assert backend.model_dump()["execution"] == execution.model_dump()


@pytest.mark.slow
def test_prefect_knows_our_blocks_without_being_told_and_loads_no_docker() -> None:
    code = (
        "import json, sys; from prefect.plugins import load_prefect_collections; load_prefect_collections();"
        "from prefect.blocks.core import Block; from prefect.utilities.dispatch import get_registry_for_type;"
        "print(json.dumps([k for k in get_registry_for_type(Block) if k.startswith('proctor')]));"
        "assert not {'docker', 'paramiko'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ours = [point for point in installed().values() if point.value.startswith("proctor.blocks.")]
    assert {point.load().get_block_type_slug() for point in ours} == set(json.loads(done.stdout))
