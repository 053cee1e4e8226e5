"""What a benchmark asks: URL, model, key and kind, as the harness will read them; pure.

`nemo_evaluator_config.target.api_endpoint`, of the benchmark or of all, comes before `target.api_endpoint`, as in NeMo
Evaluator. Everything that names an endpoint (run config, probe, provenance) takes it from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proctor.configs.deployment_schema import Endpoints, NoDeployment
from proctor.configs.errors import ConfigError
from proctor.configs.lepton_endpoint import ENDPOINT_TOKEN, SERVER_NAME, planned_base, planned_model
from proctor.configs.schema import EvaluationConfig
from proctor.configs.urls import NO_URL, is_url
from proctor.tasks.resolve import Benchmark

ROUTES = {"chat": "/chat/completions", "completions": "/completions", "embedding": "/embeddings"}
"""How a route of the OpenAI API ends, by endpoint type."""

CORE_TYPES = {"vlm": "chat", "completions_logprob": "completions"}
"""Endpoint types that share another one's route."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What one benchmark asks."""

    url: str
    model: str
    type: str
    """The kind of endpoint; `vlm` is chat with images."""
    key: str | None
    """The variable with its key, where the harness runs."""

    def written(self) -> dict[str, str]:
        """The keys of the harness's run config."""
        kind = "chat" if self.type == "vlm" else self.type
        keys = {"url": self.url, "model_id": self.model, "type": kind, "api_key_name": self.key}
        return {name: value for name, value in keys.items() if value is not None}


def endpoint(config: EvaluationConfig, benchmark: Benchmark) -> Endpoint:
    """The endpoint of a benchmark. Raises ConfigError when nothing names it, or two places contradict each other."""
    over = overrides(config, benchmark)
    kind = str(over.get("type") or benchmark.endpoint_type)
    if not isinstance(config.deployment, NoDeployment):
        refuse_overrides(config, over)
    return Endpoint(
        url=endpoint_url(config, over, CORE_TYPES.get(kind, kind)),
        model=str(over.get("model_id") or served_model(config)),
        type=kind,
        key=api_key_name(config, over),
    )


def overrides(config: EvaluationConfig, benchmark: Benchmark) -> dict[str, Any]:
    """The endpoint as `nemo_evaluator_config` describes it: that of the benchmark before that of all."""
    return {**written_in(config.evaluation.nemo_evaluator_config), **written_in(benchmark.config.nemo_evaluator_config)}


def written_in(document: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of `target.api_endpoint` that a part of a run config sets."""
    section = (document.get("target") or {}).get("api_endpoint") or {}
    return {key: value for key, value in section.items() if value is not None}


def refuse_overrides(config: EvaluationConfig, over: Mapping[str, Any]) -> None:
    """Raise ConfigError for an endpoint that is not the deployed server's."""
    place, kind = "nemo_evaluator_config.target.api_endpoint", config.deployment.type
    if "url" in over:
        raise ConfigError(f"{place}.url: benchmarks ask the deployed {kind} server; remove it, or set deployment: none")
    served = served_model(config)
    if over.get("model_id", served) != served:
        raise ConfigError(
            f"{place}.model_id: the deployed {kind} server calls its model {served}; "
            "write the name as deployment.served_model_name"
        )
    if "api_key_name" in over and config.execution.type == "lepton":
        raise ConfigError(f"{place}.api_key_name: Lepton gives its endpoint a token of its own; remove it")


def endpoint_url(config: EvaluationConfig, over: Mapping[str, Any], kind: str) -> str:
    """The deployed server's URL, the run config's, or `target`'s with the route that this kind needs."""
    deployment = config.deployment
    if not isinstance(deployment, NoDeployment):
        lepton = config.execution.type == "lepton"
        base = planned_base(SERVER_NAME) if lepton else f"http://127.0.0.1:{deployment.port}"
        return base + deployment.endpoints.path(kind)
    if "url" in over:
        return checked_url(str(over["url"]), "nemo_evaluator_config.target.api_endpoint.url")
    own = config.target.api_endpoint
    if own.type == "lepton":
        return lepton_url(config, kind)
    if own.url is None:
        raise ConfigError(
            "target.api_endpoint.url is missing; name the endpoint, or choose a deployment that starts one"
        )
    return sibling(checked_url(own.url, "target.api_endpoint.url"), kind)


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


def api_key_name(config: EvaluationConfig, over: Mapping[str, Any]) -> str | None:
    """The variable that holds the endpoint's key where the harness runs; for Lepton's endpoints it is ours."""
    own, on_lepton = config.target.api_endpoint, config.execution.type == "lepton"
    if on_lepton and not isinstance(config.deployment, NoDeployment):
        return ENDPOINT_TOKEN
    name = over.get("api_key_name") or own.api_key_name
    if name is None and on_lepton and own.type == "lepton":
        return ENDPOINT_TOKEN
    return str(name) if name else None


def checked_url(url: str, place: str) -> str:
    """The URL of a place in a config. Raises ConfigError when it is none."""
    if not is_url(url):
        raise ConfigError(f"{place}: {url!r} {NO_URL}")
    return url


def sibling(url: str, kind: str) -> str:
    """The route of this endpoint type on the same server, for a URL that ends in an OpenAI route; else the URL."""
    wanted = ROUTES.get(kind)
    for route in sorted(ROUTES.values(), key=len, reverse=True):
        if url.endswith(route):
            return url.removesuffix(route) + (wanted or route)
    return url


def served_model(config: EvaluationConfig) -> str:
    """The measured model's name in requests. Raises ConfigError when nothing names it."""
    endpoint, deployment = config.target.api_endpoint, config.deployment
    if isinstance(deployment, NoDeployment):
        shared, tasks = config.evaluation.nemo_evaluator_config, config.evaluation.tasks
        candidates = [written_in(shared).get("model_id"), endpoint.model_id]
        candidates += [written_in(each.nemo_evaluator_config).get("model_id") for each in tasks]
    else:
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
