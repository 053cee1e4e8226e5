"""More benchmarks of one evaluation are cancelled at the same moment than the server tells in one answer."""

from uuid import uuid4

import pytest

from tests.flows.stack import Stack

pytestmark = pytest.mark.live

COUNT = 250
ASK = """
import asyncio, sys
from datetime import UTC, datetime
from uuid import UUID
from proctor.tasks.cancellation import cancelling
from proctor.tasks.records import EvaluationRun
run = EvaluationRun(UUID(sys.argv[1]), datetime.now(UTC), ())
print(*{each.parameters["step"] for each in asyncio.run(cancelling(run))})
"""


def test_every_one_of_them_is_heard(stack: Stack) -> None:
    evaluation = uuid4()
    flow = stack.post("/flows/", {"name": "benchmark"}).json()["id"]
    tags = ["proctor:benchmark", f"evaluation:{evaluation.hex[-8:]}"]
    for number in range(COUNT):
        body = {
            "flow_id": flow,
            "tags": tags,
            "parameters": {"step": f"step.{number}"},
            "state": {"type": "CANCELLING"},
        }
        stack.post("/flow_runs/", body).raise_for_status()
    assert len(stack.python(ASK, str(evaluation)).split()) == COUNT
