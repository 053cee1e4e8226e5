"""The document that a harness reads: benchmark + endpoint -> run config; pure.

The keys are those of `nemo-evaluator run_eval --run_config` (NVIDIA NeMo Evaluator 0.2): config, target, metadata.
"""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import yaml

from proctor.configs.deployment_schema import Endpoints, NoDeployment
from proctor.configs.errors import ConfigError
from proctor.configs.lepton_endpoint import ENDPOINT_TOKEN, SERVER_NAME, planned_base, planned_model
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.resolve import Benchmark

ROUTES = {"chat": "/chat/completions", "completions": "/completions", "embedding": "/embeddings"}
"""How a route of the OpenAI API ends, by endpoint type."""

DUMPER: type[yaml.SafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""The one in C where PyYAML was built with it: a tenth of the time."""

CORE_TYPES = {"vlm": "chat", "completions_logprob": "completions"}
"""Endpoint types that share another one's route."""


def run_config(config: EvaluationConfig, benchmark: Benchmark, results: str, url: str) -> str:
    """The run config of one benchmark as YAML, with its output folder as the harness sees it, and the endpoint's URL.

    What the user wrote under `nemo_evaluator_config` wins over what is derived here.
    """
    document = merged(config.evaluation.nemo_evaluator_config, benchmark.config.nemo_evaluator_config)
    endpoint = config.target.api_endpoint
    derived = {
        "config": {"type": benchmark.type, "output_dir": results},
        "target": {
            "api_endpoint": without_none(
                {
                    "url": url,
                    "model_id": served_model(config),
                    "type": "chat" if benchmark.endpoint_type == "vlm" else benchmark.endpoint_type,
                    "api_key_name": api_key_name(config),
                    "stream": endpoint.stream,
                    "adapter_config": adapter_config(config, document),
                }
            )
        },
        "metadata": {"versioning": {"proctor": proctor_version()}},
    }
    return yaml.dump(merged(derived, document), Dumper=DUMPER, sort_keys=False, allow_unicode=True)


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


def endpoint_url(config: EvaluationConfig, benchmark: Benchmark) -> str:
    """The URL this benchmark asks: the deployed server's, or the user's with the route its endpoint type needs."""
    kind = CORE_TYPES.get(benchmark.endpoint_type, benchmark.endpoint_type)
    deployment = config.deployment
    if not isinstance(deployment, NoDeployment):
        lepton = config.execution.type == "lepton"
        base = planned_base(SERVER_NAME) if lepton else f"http://127.0.0.1:{deployment.port}"
        return base + deployment.endpoints.path(kind)
    own = benchmark.config.nemo_evaluator_config.get("target", {}).get("api_endpoint", {}).get("url")
    if own:
        return str(own)
    return (
        lepton_url(config, kind) if config.target.api_endpoint.type == "lepton" else sibling(checked_url(config), kind)
    )


def lepton_url(config: EvaluationConfig, kind: str) -> str:
    """An endpoint of Lepton's by name: its real URL is only known to Lepton, which is asked when a job is submitted."""
    name = config.target.api_endpoint.deployment_name
    if not name:
        raise ConfigError("target.api_endpoint.deployment_name is missing; type: lepton needs the endpoint's name")
    if config.execution.type != "lepton":
        raise ConfigError(
            "target.api_endpoint.type: lepton goes with execution: lepton; elsewhere write the endpoint's URL as url"
        )
    return planned_base(name) + Endpoints().path(kind)


def api_key_name(config: EvaluationConfig) -> str | None:
    """The variable that holds the endpoint's key where the harness runs; for Lepton's endpoints it is ours."""
    own = config.target.api_endpoint
    if config.execution.type != "lepton":
        return own.api_key_name
    if not isinstance(config.deployment, NoDeployment):
        return ENDPOINT_TOKEN
    return own.api_key_name or (ENDPOINT_TOKEN if own.type == "lepton" else None)


def checked_url(config: EvaluationConfig) -> str:
    """`target.api_endpoint.url`, or ConfigError when it is missing or no URL."""
    url = config.target.api_endpoint.url
    if url is None:
        raise ConfigError(
            "target.api_endpoint.url is missing; name the endpoint, or choose a deployment that starts one"
        )
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"target.api_endpoint.url: {url!r} is no URL; write http://HOST:PORT/v1/chat/completions")
    return url


def sibling(url: str, kind: str) -> str:
    """The route of this endpoint type on the same server, for a URL that ends in an OpenAI route; else the URL."""
    wanted = ROUTES.get(kind)
    for route in sorted(ROUTES.values(), key=len, reverse=True):
        if url.endswith(route):
            return url.removesuffix(route) + (wanted or route)
    return url


def served_model(config: EvaluationConfig) -> str:
    """The model's name in requests. Raises ConfigError when nothing names it."""
    endpoint, deployment = config.target.api_endpoint, config.deployment
    candidates = [endpoint.model_id]
    if not isinstance(deployment, NoDeployment):
        handle = getattr(deployment, "hf_model_handle", None)
        checkpoint = getattr(deployment, "checkpoint_path", None)
        nim = getattr(deployment, "nim_model_name", None)
        folder = checkpoint.rstrip("/").rpartition("/")[2] if checkpoint else None
        candidates = [deployment.served_model_name, endpoint.model_id, nim, handle, folder]
    for name in candidates:
        if name:
            return str(name)
    if endpoint.type == "lepton" and endpoint.deployment_name:
        return planned_model(endpoint.deployment_name)
    raise ConfigError("target.api_endpoint.model_id is missing; write the name that requests to the model use")


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
