"""The config of an evaluation as typed values: what `load` returns, what the flow `evaluate` takes.

Keys are those of NeMo Evaluator and the seeds. Everything is frozen, and unknown keys are errors.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from proctor.configs.deployment_schema import Deployment, NoDeployment
from proctor.configs.execution_schema import Execution, LocalExecution
from proctor.configs.export_schema import Export
from proctor.configs.fields import EnvMap, Seconds, Section, base_folder

EndpointType = Literal["chat", "completions", "completions_logprob", "embedding", "vlm"]


class ApiEndpoint(Section):
    """The OpenAI-compatible endpoint that is measured."""

    url: str | None = Field(
        None, description="Full URL of the route, for instance http://localhost:8000/v1/chat/completions."
    )
    model_id: str | None = Field(None, description="The model's name in requests.")
    api_key_name: str | None = Field(None, description="NAME of the environment variable that holds the API key.")
    type: Literal["openai", "lepton"] = Field("openai", description="`lepton` finds URL and token by deployment_name.")
    deployment_name: str | None = Field(None, description="Name of a Lepton endpoint (with type: lepton).")
    stream: bool | None = Field(None, description="Whether the harness asks for streamed answers; default: its own.")
    adapter_config: dict[str, Any] | None = Field(
        None, description="Interceptors of the harness's request adapter; passed through as they stand."
    )


class Target(Section):
    """What is measured."""

    api_endpoint: ApiEndpoint = Field(default_factory=ApiEndpoint)


class BenchmarkConfig(Section):
    """One entry of `evaluation.tasks`."""

    name: str = Field(description="`benchmark` or `harness.benchmark`; `proctor ls tasks` lists them.")
    container: str | None = Field(None, description="Image instead of the one in mapping.toml; best by digest.")
    packages: list[str] | None = Field(
        None, description="Python packages instead of those in mapping.toml, without containers."
    )
    endpoint_type: EndpointType | None = Field(None, description="Overrides what mapping.toml says.")
    env_vars: EnvMap = Field(default_factory=dict)
    nemo_evaluator_config: dict[str, Any] = Field(
        default_factory=dict, description="Merged into the harness's run config."
    )
    dataset_dir: str | None = Field(None, description="Folder with the data, mounted into the container.")
    dataset_mount_path: str = Field("/datasets", description="Where the container sees dataset_dir.")
    pre_cmd: str = Field("", description="Shell text before the harness; needs trust_pre_cmd.")
    post_cmd: str = Field("", description="Shell text after the harness; needs trust_pre_cmd.")
    timeout: Seconds | None = Field(None, description="Wall-clock limit of this benchmark: HH:MM:SS or seconds.")

    @property
    def software(self) -> frozenset[str]:
        """Which parts of the benchmark's software the config brings itself: `container`, `packages`."""
        return frozenset(name for name in ("container", "packages") if getattr(self, name) is not None)


class Evaluation(Section):
    """Which benchmarks, and what they share."""

    tasks: list[BenchmarkConfig] = Field(min_length=1, description="The benchmarks.")
    nemo_evaluator_config: dict[str, Any] = Field(
        default_factory=dict,
        description="Merged into every benchmark's run config: config.params.limit_samples and so on.",
    )
    env_vars: EnvMap = Field(default_factory=dict)
    pre_cmd: str = Field("", description="Shell text before every harness; needs trust_pre_cmd.")
    post_cmd: str = Field("", description="Shell text after every harness; needs trust_pre_cmd.")
    trust_pre_cmd: bool = Field(False, description="Run pre_cmd and post_cmd: they are code from this config.")
    trust_unlisted: bool = Field(False, description="Run benchmarks and containers that mapping.toml does not list.")
    mapping: str | None = Field(None, description="A mapping.toml of your own; its entries come before ours.")


class EvaluationConfig(Section):
    """One model measured by some benchmarks at one place."""

    name: str | None = Field(None, description="Name of the evaluation in lists; default: the model's.")
    execution: Execution = Field(default_factory=LocalExecution, description="Where the jobs run.")
    deployment: Deployment = Field(default_factory=NoDeployment, description="The model server to start, if any.")
    target: Target = Field(default_factory=Target, description="The endpoint that is measured.")
    evaluation: Evaluation = Field(description="The benchmarks.")
    export: Export = Field(default_factory=Export, description="Where the scores go.")
    env_vars: EnvMap = Field(default_factory=dict)
    base_dir: str | None = Field(
        None,
        description="Folder that relative paths are relative to; `proctor run` sets it to the caller's. Default: the home of the worker's user.",
    )

    @property
    def mapping_path(self) -> Path | None:
        """The user's own mapping.toml, relative to the folder the config was started from."""
        mapping = self.evaluation.mapping
        return base_folder(self.base_dir) / Path(mapping).expanduser() if mapping else None
