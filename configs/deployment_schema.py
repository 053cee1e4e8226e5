"""The `deployment:` section: which model server runs beside the benchmarks, if any."""

from typing import Annotated, Literal

from pydantic import Field

from proctor.configs.fields import EnvMap, Section


class Endpoints(Section):
    """Paths of the server's routes."""

    chat: str = Field("/v1/chat/completions", description="Of chat requests, those with images too.")
    completions: str = Field("/v1/completions", description="Of text completions.")
    embedding: str = Field("/v1/embeddings", description="Of embeddings.")
    ranking: str = Field("/v1/ranking", description="Of rankings.")
    health: str = Field("/health", description="Answers 200 once the server is up.")
    models: str = Field("/v1/models", description="Lists the served models; the server is ready when ours is there.")

    def path(self, endpoint_type: str) -> str:
        """The route for an endpoint type; a vision model answers on the chat route."""
        return str(getattr(self, "chat" if endpoint_type == "vlm" else endpoint_type))


class NoDeployment(Section):
    """Nothing is deployed; the benchmarks ask `target.api_endpoint.url`."""

    type: Literal["none"] = "none"


class BaseDeployment(Section):
    """What every model server has in common."""

    image: str | None = Field(None, description="The server's image, best by digest; default: the kind's own.")
    packages: list[str] = Field(
        default_factory=list, description="The server's Python packages, for backends without containers."
    )
    port: int = Field(8000, ge=1, le=65535, description="Port that the server listens on.")
    served_model_name: str | None = Field(
        None, description="The name requests use; default: target.api_endpoint.model_id."
    )
    endpoints: Endpoints = Field(default_factory=Endpoints)
    env_vars: EnvMap = Field(default_factory=dict)
    pre_cmd: str = Field("", description="Shell text before the server starts; needs explicit trust.")
    extra_args: str = Field("", description="Appended to the server's command line as it stands.")
    command: str | None = Field(None, description="Shell text that starts the server instead of the usual command.")
    cache_path: str | None = Field(None, description="Folder mounted at /cache.")
    mounts: list[str] = Field(default_factory=list, description="SOURCE:TARGET[:ro] for the server only.")


class CheckpointDeployment(BaseDeployment):
    """A server that loads a checkpoint folder or a model of the Hugging Face hub."""

    checkpoint_path: str | None = Field(None, description="Folder of the model, mounted at /checkpoint.")
    hf_model_handle: str | None = Field(None, description="Model of the Hugging Face hub instead of a checkpoint.")
    tensor_parallel_size: int = Field(1, ge=1, description="GPUs that share each layer of the model.")
    pipeline_parallel_size: int = Field(1, ge=1, description="Stages that the layers of the model are spread over.")
    data_parallel_size: int = Field(1, ge=1, description="Copies of the model in one server.")


class VllmDeployment(CheckpointDeployment):
    """vLLM."""

    type: Literal["vllm"] = "vllm"
    max_model_len: int | None = Field(None, ge=1, description="Tokens of prompt and answer; default: the model's own.")
    gpu_memory_utilization: float = Field(0.95, gt=0, le=1, description="Share of GPU memory that the server takes.")


class SglangDeployment(CheckpointDeployment):
    """SGLang."""

    type: Literal["sglang"] = "sglang"
    max_model_len: int | None = Field(None, ge=1, description="Tokens of prompt and answer; default: the model's own.")
    gpu_memory_utilization: float | None = Field(
        None, gt=0, le=1, description="Share of GPU memory that the server takes; default: SGLang's own."
    )


class NimDeployment(BaseDeployment):
    """An NVIDIA NIM container."""

    type: Literal["nim"] = "nim"
    nim_model_name: str | None = Field(
        None, description="For instance meta/llama-3.1-8b-instruct; names the image when none is given."
    )
    endpoints: Endpoints = Field(default_factory=lambda: Endpoints(health="/v1/health/ready"))


class GenericDeployment(BaseDeployment):
    """Any server that speaks the OpenAI API."""

    type: Literal["generic"] = "generic"
    checkpoint_path: str | None = Field(None, description="Folder of the model, mounted at /checkpoint.")


Deployment = Annotated[
    NoDeployment | VllmDeployment | SglangDeployment | NimDeployment | GenericDeployment, Field(discriminator="type")
]
