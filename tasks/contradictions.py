"""Keys of a config that cannot both count, said in words; pure."""

from collections.abc import Iterator

from proctor.configs.deployment_schema import CheckpointDeployment, NoDeployment
from proctor.configs.execution_schema import LeptonExecution, SlurmExecution
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.endpoint import served_model

FOR_SERVERS = {"num_replicas", "endpoint_resource_shape", "endpoint_node_group", "endpoint"}
"""Keys of a Lepton section that are about the model server alone."""


def contradictions(config: EvaluationConfig) -> Iterator[str]:
    """One sentence for every value that is not used because another one is."""
    endpoint, deployment, execution = config.target.api_endpoint, config.deployment, config.execution
    if getattr(execution, "mode", "") == "sequential" and execution.parallel > 1:
        yield f"execution.mode: sequential is not used: max_parallel says {execution.parallel} at a time"
    yield from about_split(config)
    if isinstance(execution, SlurmExecution) and execution.gres and execution.gpus_per_node:
        yield f"execution.gres {execution.gres} and gpus_per_node {execution.gpus_per_node} both count: Slurm gets both"
    if isinstance(execution, LeptonExecution) and execution.stall_timeout and execution.results.via != "mount":
        yield (
            "execution.stall_timeout is not used: the requests of a Lepton job can only be counted "
            "with execution.results.via: mount"
        )
    if isinstance(deployment, NoDeployment):
        if isinstance(execution, LeptonExecution):
            for key in sorted(FOR_SERVERS & execution.model_fields_set):
                yield f"execution.{key} is not used: it is about a model server, and nothing is deployed"
        return
    if endpoint.url:
        yield f"target.api_endpoint.url {endpoint.url} is not used: benchmarks ask the deployed {deployment.type} server"
    served = served_model(config)
    if endpoint.model_id and endpoint.model_id != served:
        yield f"target.api_endpoint.model_id {endpoint.model_id} is not used: the server calls its model {served}"
    if isinstance(deployment, CheckpointDeployment) and deployment.hf_model_handle and deployment.checkpoint_path:
        yield f"deployment.checkpoint_path {deployment.checkpoint_path} is not used: hf_model_handle names the model"


def about_split(config: EvaluationConfig) -> Iterator[str]:
    """The same about how the benchmarks are spread over jobs."""
    execution = config.execution
    if not isinstance(execution, LeptonExecution | SlurmExecution) or "split" not in execution.model_fields_set:
        return
    if execution.server_per_benchmark and not isinstance(config.deployment, NoDeployment):
        yield f"execution.split {execution.split} is not used: with server_per_benchmark every benchmark has its own job"
    elif isinstance(execution, LeptonExecution) and execution.split and (execution.max_parallel or 0) > execution.split:
        yield (
            f"execution.max_parallel {execution.max_parallel} is not used: split spreads the benchmarks over "
            f"{execution.split} jobs, each of which runs one after the other"
        )
