"""The shell text that a job of Lepton's runs: a frame, and its benchmarks one after the other; pure."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files as resources

from proctor.blocks.job import JobSpec, Step
from proctor.blocks.job_files import CONTAINER_JOB, order_file, step_files
from proctor.blocks.lepton.shares import Share
from proctor.blocks.stages import StepPaths, step_body, step_head, step_marker
from proctor.configs.execution_schema import LeptonExecution
from proctor.configs.lepton_endpoint import planned_base, planned_model


@dataclass(frozen=True, slots=True)
class Route:
    """What stands in a plan for an endpoint, and its real address."""

    name: str
    """How the plan calls it."""
    base: str
    """Its real URL, without a slash at the end."""
    model: str = ""
    """The model that it lists, for a plan that names none."""


def job_script(
    job: JobSpec,
    share: Share,
    steps: Sequence[Step],
    execution: LeptonExecution,
    route: Route,
    own: Sequence[Mapping[str, str]],
) -> str:
    """The shell text of a job.

    `own` says for each step which of its variables are in the job under another name, because they are its alone.
    """
    values = {
        "JOB": job.name,
        "NAME": share.name,
        "TOGETHER": "yes" if share.together else "",
        "ALL": CONTAINER_JOB,
        "ORDER": order(job),
        "VIA": execution.results.via,
        "LOG_LIMIT": str(execution.results.log_limit << 20),
        "BODY": step_body(),
    }
    frame = (resources("proctor.blocks.lepton") / "job.sh").read_text()
    parts = [*assigned(values), frame]
    for index, (step, variables) in enumerate(zip(steps, own, strict=True)):
        inner = [*assigned(step_values(job, share, step, execution, route)), *exported(variables), "frame"]
        parts += [f"benchmark_{index}() {{", *inner, "}"]
    if share.together and execution.results.via == "mount":
        parts.append(f"alone {shlex.quote(share.folder(steps[0].name))} || exit 0")
    return "\n".join([*parts, *(f"run benchmark_{index}" for index in range(len(steps))), 'exit "$END"\n'])


def assigned(values: Mapping[str, str]) -> list[str]:
    """Assignments of a shell."""
    return [f"{name}={shlex.quote(value)}" for name, value in values.items()]


def exported(variables: Mapping[str, str]) -> list[str]:
    """What gives variables the values of others."""
    return [f'export {name}="${other}"' for name, other in variables.items()]


def step_values(job: JobSpec, share: Share, step: Step, execution: LeptonExecution, route: Route) -> dict[str, str]:
    """What the frame knows about one benchmark."""
    asking, folder = routed(step, route), share.folder(step.name)
    alone = replace(job, steps=(asking,), server=None, max_parallel=1)
    run_config = f"{folder}/.proctor/{step_files(job, step.name).run_config.name}"
    paths = StepPaths(folder, CONTAINER_JOB, order(job), run_config)
    seen = execution.results.via == "mount"
    return {
        "STEP": step.name,
        "OUT": folder,
        "MARK": step_marker(job.name, step.name),
        "KEY": share.mark(step.name),
        "RUN_CONFIG": asking.run_config,
        "RUN_CONFIG_FILE": run_config,
        "HEAD": step_head(alone, asking, paths, execution.endpoint_readiness_timeout, counted=seen),
    }


def order(job: JobSpec) -> str:
    """The file that names the benchmark whose turn it is."""
    return f"{CONTAINER_JOB}/.proctor/{order_file(job).name}"


def routed(step: Step, route: Route) -> Step:
    """The step with the endpoint's real address and model in place of what the plan could not know."""

    def real(text: str) -> str:
        named = text.replace(planned_model(route.name), route.model) if route.model else text
        return named.replace(f"{planned_base(route.name)}/", f"{route.base}/")

    return replace(step, endpoint_url=real(step.endpoint_url), run_config=real(step.run_config))
