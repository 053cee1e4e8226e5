"""From a `deployment:` section to the model server of a job; pure."""

import re
import shlex

from proctor.blocks.job import Container, EnvVar, Mount, Server
from proctor.blocks.slurm.runtimes import NIM_COMMAND
from proctor.configs.deployment_schema import (
    BaseDeployment,
    CheckpointDeployment,
    GenericDeployment,
    NimDeployment,
    NoDeployment,
    SglangDeployment,
    VllmDeployment,
)
from proctor.configs.errors import ConfigError
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.endpoint import served_model
from proctor.tasks.environment import absolute, declared_mounts, env_vars, mounts, without_containers

HUB_MODEL = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
"""OWNER/MODEL, as the Hugging Face hub names models; no path of a machine."""
IMAGES = {"vllm": "vllm/vllm-openai:latest", "sglang": "lmsysorg/sglang:latest"}
NIM_PORTS = ("NIM_SERVER_PORT", "NIM_HTTP_API_PORT")
"""Variables by which NIM images learn their port: those of language models, and the others."""
Any_Deployment = VllmDeployment | SglangDeployment | NimDeployment | GenericDeployment
PACKAGES = {"vllm": ("vllm",), "sglang": ("sglang[all]",)}


def server(config: EvaluationConfig) -> Server | None:
    """The server that `deployment:` describes, or None for an endpoint that is already there.

    Raises ConfigError when a section lacks what its server needs.
    """
    if isinstance(config.deployment, NoDeployment):
        return None
    deployment = from_hub(config, config.deployment)
    if deployment.pre_cmd and not config.evaluation.trust_pre_cmd:
        raise ConfigError("deployment.pre_cmd is code from this config; to run it, set evaluation.trust_pre_cmd: true")
    behind = getattr(config.execution, "num_instances", 1) > 1
    own = deployment.model_copy(update={"port": deployment.port + 1}) if behind else deployment
    return Server(
        kind=deployment.type,
        container=container(config, own),
        command=command(own, served_model(config), containers=not without_containers(config)),
        port=deployment.port,
        served_model=served_model(config),
        health_path=deployment.endpoints.health,
        models_path=deployment.endpoints.models,
        ready_timeout=config.execution.endpoint_readiness_timeout,
        pre_cmd=deployment.pre_cmd,
    )


def from_hub(config: EvaluationConfig, deployment: Any_Deployment) -> Any_Deployment:
    """On Lepton, as NeMo Evaluator has it, a checkpoint may be named as a model of the hub: there is no folder to mount."""
    checkpoint = getattr(deployment, "checkpoint_path", None)
    if config.execution.type != "lepton" or not isinstance(deployment, CheckpointDeployment):
        return deployment
    if deployment.hf_model_handle or not HUB_MODEL.fullmatch(checkpoint or ""):
        return deployment
    return deployment.model_copy(update={"hf_model_handle": checkpoint, "checkpoint_path": None})


def container(config: EvaluationConfig, deployment: Any_Deployment) -> Container:
    """Image or packages of the server, with its model mounted."""
    image = deployment.image or default_image(deployment)
    packages = tuple(deployment.packages) or PACKAGES.get(deployment.type, ())
    if without_containers(config):
        require_packages(deployment, packages)
    elif image is None:
        raise ConfigError(f"deployment.image is missing; a {deployment.type} deployment needs the image to run")
    own: list[EnvVar] = []
    if isinstance(deployment, NimDeployment):
        require_nothing_extra(deployment)
        own += [EnvVar(name, "lit", str(deployment.port)) for name in NIM_PORTS]
        if deployment.nim_model_name:
            own.append(EnvVar("NIM_SERVED_MODEL_NAME", "lit", served_model(config)))
    declared = env_vars(config.env_vars, config.execution.env_vars, deployment.env_vars)
    places = mounts((*declared_mounts(config), *deployment.mounts), config)
    return Container(image, packages, (*own, *declared), (*model_mounts(config, deployment, places), *places))


def require_nothing_extra(deployment: NimDeployment) -> None:
    """Raise ConfigError for arguments of a server that its image starts by itself."""
    if deployment.extra_args and not deployment.command:
        raise ConfigError(
            "deployment.extra_args: a NIM image starts its server by itself and takes its settings from variables; "
            "set them in deployment.env_vars, or write the whole deployment.command"
        )


def require_packages(deployment: Any_Deployment, packages: tuple[str, ...]) -> None:
    """Raise ConfigError where a server has no form without containers."""
    if isinstance(deployment, NimDeployment):
        raise ConfigError(
            "deployment.type: nim exists only as a container; choose execution: local, slurm or lepton for it"
        )
    if not packages:
        raise ConfigError("deployment.packages is missing; execution: process builds the server's environment from it")


def default_image(deployment: Any_Deployment) -> str | None:
    """The image when the section names none."""
    if isinstance(deployment, NimDeployment) and deployment.nim_model_name:
        return f"nvcr.io/nim/{deployment.nim_model_name}:latest"
    return IMAGES.get(deployment.type)


def model_mounts(config: EvaluationConfig, deployment: Any_Deployment, places: tuple[Mount, ...]) -> tuple[Mount, ...]:
    """The checkpoint at /checkpoint, read only, and the cache at /cache; `places` are the other mounts."""
    checkpoint = getattr(deployment, "checkpoint_path", None)
    found = [Mount(on_the_machine(checkpoint, config, places), "/checkpoint", read_only=True)] if checkpoint else []
    if deployment.cache_path:
        found.append(Mount(absolute(deployment.cache_path, config), "/cache"))
    return tuple(found)


def on_the_machine(path: str, config: EvaluationConfig, places: tuple[Mount, ...]) -> str:
    """A path outside of containers; one that lies under the target of a mount is meant as the container sees it."""
    for place in places:
        if place.source != place.target and f"{path}/".startswith(f"{place.target.rstrip('/')}/"):
            return place.source.rstrip("/") + path.removeprefix(place.target.rstrip("/"))
    return absolute(path, config)


def command(deployment: Any_Deployment, served: str, *, containers: bool) -> str | None:
    """The shell text that starts the server; None where the image starts it by itself."""
    if deployment.command:
        return with_extra(deployment.command, deployment)
    if isinstance(deployment, VllmDeployment):
        return with_extra(
            shlex.join(vllm_argv(deployment, served, model(deployment, containers=containers))), deployment
        )
    if isinstance(deployment, SglangDeployment):
        return with_extra(
            shlex.join(sglang_argv(deployment, served, model(deployment, containers=containers))), deployment
        )
    if isinstance(deployment, GenericDeployment):
        raise ConfigError(
            "deployment.command is missing; a generic deployment needs the command that starts its server"
        )
    return shlex.join(NIM_COMMAND) if deployment.pre_cmd else None


def with_extra(text: str, deployment: BaseDeployment) -> str:
    """The command with the user's extra arguments behind it."""
    return f"{text} {deployment.extra_args}".strip()


def model(deployment: CheckpointDeployment, *, containers: bool) -> str:
    """What the server loads: the hub's model, or the checkpoint where the server sees it."""
    if deployment.hf_model_handle:
        return deployment.hf_model_handle
    if deployment.checkpoint_path:
        return "/checkpoint" if containers else deployment.checkpoint_path
    raise ConfigError("deployment.checkpoint_path is missing; name the model's folder, or deployment.hf_model_handle")


def vllm_argv(deployment: VllmDeployment, served: str, weights: str) -> list[str]:
    """`vllm serve`, as NeMo Evaluator starts it."""
    argv = ["vllm", "serve", weights, "--served-model-name", served, "--port", str(deployment.port)]
    argv += ["--tensor-parallel-size", str(deployment.tensor_parallel_size)]
    argv += ["--pipeline-parallel-size", str(deployment.pipeline_parallel_size)]
    argv += ["--data-parallel-size", str(deployment.data_parallel_size)]
    argv += ["--gpu-memory-utilization", str(deployment.gpu_memory_utilization), "--trust-remote-code"]
    return argv + (["--max-model-len", str(deployment.max_model_len)] if deployment.max_model_len else [])


def sglang_argv(deployment: SglangDeployment, served: str, weights: str) -> list[str]:
    """`sglang.launch_server`, as NeMo Evaluator starts it."""
    argv = ["python3", "-m", "sglang.launch_server", "--model-path", weights, "--served-model-name", served]
    argv += ["--host", "0.0.0.0", "--port", str(deployment.port)]  # noqa: S104 (inside the container)
    argv += ["--tp-size", str(deployment.tensor_parallel_size), "--pp-size", str(deployment.pipeline_parallel_size)]
    argv += ["--dp-size", str(deployment.data_parallel_size)]
    argv += ["--context-length", str(deployment.max_model_len)] if deployment.max_model_len else []
    share = deployment.gpu_memory_utilization
    return argv + (["--mem-fraction-static", str(share)] if share else [])
