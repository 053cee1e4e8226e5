"""The document that a harness reads: benchmark + endpoint -> run config; pure.

The keys are those of `nemo-evaluator run_eval --run_config` (NVIDIA NeMo Evaluator 0.2): config, target, metadata.
"""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

import yaml

from proctor.configs.errors import ConfigError
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.endpoint import Endpoint
from proctor.tasks.resolve import Benchmark

DUMPER: type[yaml.SafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""The one in C where PyYAML was built with it: a tenth of the time."""


def run_config(config: EvaluationConfig, benchmark: Benchmark, results: str, asked: Endpoint) -> str:
    """The run config of one benchmark as YAML, with its output folder as the harness sees it, and the endpoint it asks.

    What the user wrote under `nemo_evaluator_config` wins over what is derived here; `asked` counts it already.
    """
    document = merged(config.evaluation.nemo_evaluator_config, benchmark.config.nemo_evaluator_config)
    refuse_another(document, benchmark)
    derived = {
        "config": {"type": benchmark.type, "output_dir": results},
        "target": {
            "api_endpoint": {
                **asked.written(),
                **without_none(
                    {
                        "stream": config.target.api_endpoint.stream,
                        "adapter_config": adapter_config(config, document),
                    }
                ),
            }
        },
        "metadata": {"versioning": {"proctor": proctor_version()}},
    }
    over = {"target": {"api_endpoint": asked.written()}}
    return yaml.dump(merged(merged(derived, document), over), Dumper=DUMPER, sort_keys=False, allow_unicode=True)


def refuse_another(document: Mapping[str, Any], benchmark: Benchmark) -> None:
    """Raise ConfigError where the harness is told to run another benchmark than its scores are said to be of."""
    wanted = document.get("config", {}).get("type")
    if wanted not in (None, benchmark.type, benchmark.name):
        raise ConfigError(
            f"nemo_evaluator_config.config.type: {wanted!r} is not what {benchmark.name} runs; "
            "name the benchmark in evaluation.tasks"
        )


@cache
def proctor_version() -> str:
    """Ours, read once: fifty benchmarks would ask the disk fifty times."""
    return version("proctor")


def adapter_config(config: EvaluationConfig, document: Mapping[str, Any]) -> Any:
    """The user's interceptors from either place they may stand; None leaves the harness's defaults (caching is on)."""
    ours = config.target.api_endpoint.adapter_config
    theirs = document.get("target", {}).get("api_endpoint", {}).get("adapter_config")
    if ours is not None and theirs is not None and ours != theirs:
        raise ConfigError(
            "adapter_config stands in target.api_endpoint and in nemo_evaluator_config.target.api_endpoint "
            "with different content; keep one"
        )
    return ours if ours is not None else theirs


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both documents as one: mappings merge, everything else of `over` replaces."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = merged(below, value) if both and below is not None else value
    return result


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are there."""
    return {key: value for key, value in values.items() if value is not None}
