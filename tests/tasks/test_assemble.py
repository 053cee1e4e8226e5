"""What stands beside a score so that it can be trusted."""

import pytest

from proctor.configs.schema import EvaluationConfig
from proctor.tasks.assemble import isolation

SLURM = {"type": "slurm", "hostname": "h", "account": "a", "output_dir": "/shared"}


@pytest.mark.parametrize(
    ("execution", "expected"),
    [
        ({"type": "local"}, "container"),
        ({"type": "process"}, "venv"),
        ({"type": "simulated"}, "none"),
        (SLURM, "container"),
        (SLURM | {"container_runtime": "none"}, "venv"),
    ],
)
def test_a_result_says_what_kept_it_apart(execution: dict[str, str], expected: str) -> None:
    config = {
        "execution": execution,
        "target": {"api_endpoint": {"url": "http://127.0.0.1:9/v1/chat/completions", "model_id": "m"}},
        "evaluation": {"tasks": [{"name": "mmath_en"}]},
    }
    assert isolation(EvaluationConfig.model_validate(config)) == expected
