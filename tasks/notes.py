"""What a plan holds that a person might not expect from the config, said in words; pure."""

from collections.abc import Iterator

from proctor.blocks.job import Server
from proctor.blocks.lepton.render import SMALLEST, server_shape
from proctor.configs.deployment_schema import NoDeployment
from proctor.configs.execution_schema import LeptonExecution
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.contradictions import contradictions
from proctor.tasks.endpoint import Endpoint, overrides
from proctor.tasks.environment import without_containers
from proctor.tasks.resolve import Benchmark


def notes(
    config: EvaluationConfig,
    benchmarks: tuple[Benchmark, ...],
    endpoints: tuple[Endpoint, ...],
    server: Server | None,
) -> tuple[str, ...]:
    """One sentence for each: an ignored key, another endpoint, a needed capability, an image that may change."""
    found = list(contradictions(config))
    image = server.container.image if server and not without_containers(config) else None
    if image and by_tag(image):
        found.append(f"the model server runs {image} by tag, so it may change; deployment.image takes one by digest")
    if isinstance(config.execution, LeptonExecution) and config.execution.results.via != "mount":
        found.append(
            "a benchmark that loses its node asks everything again: response caches outlive a job only with "
            "execution.results.via: mount"
        )
    if isinstance(config.execution, LeptonExecution) and server and server_shape(server, config.execution) == SMALLEST:
        found.append(
            "the model server gets the smallest shape with accelerators that its node group has; "
            "execution.endpoint_resource_shape names another"
        )
    for benchmark, asked in zip(benchmarks, endpoints, strict=True):
        found += endpoint_notes(config, benchmark, asked)
        found += [f"{benchmark.name} needs an endpoint with {need}" for need in benchmark.required_capabilities]
        if not benchmark.listed:
            found.append(
                f"{benchmark.name} is not listed in mapping.toml; it runs because evaluation.trust_unlisted is set"
            )
        elif benchmark.image and not without_containers(config) and by_tag(benchmark.image):
            found.append(f"{benchmark.name} runs {benchmark.image} by tag: no digest is known, so it may change")
    return tuple(found)


def by_tag(image: str) -> bool:
    """Whether an image's name may mean another image tomorrow."""
    return "@sha256:" not in image


def endpoint_notes(config: EvaluationConfig, benchmark: Benchmark, asked: Endpoint) -> Iterator[str]:
    """Where a benchmark asks another URL or model than `target.api_endpoint` names, and why."""
    if not isinstance(config.deployment, NoDeployment):
        return
    own, over = config.target.api_endpoint, overrides(config, benchmark)
    if own.url and asked.url != own.url:
        why = "nemo_evaluator_config says so" if "url" in over else f"it needs a {asked.type} route"
        yield f"{benchmark.name} asks {asked.url}, because {why}"
    if own.model_id and asked.model != own.model_id:
        yield f"{benchmark.name} asks for the model {asked.model}, because nemo_evaluator_config says so"
