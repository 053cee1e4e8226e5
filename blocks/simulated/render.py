"""What a simulated job would do, as text; pure."""

from proctor.blocks.job import JobSpec
from proctor.configs.execution_schema import SimulatedExecution


def render(job: JobSpec, execution: SimulatedExecution) -> str:
    """One line a step."""
    lines = [f"# {job.name}: runs nothing; {job.max_parallel} at a time, {execution.step_seconds} s each"]
    if job.server:
        lines.append(f"server {job.server.kind}: {job.server.command}")
    for step in job.steps:
        end = "exit 1" if step.benchmark.rpartition(".")[2] in execution.fail else f"accuracy {execution.score}"
        lines.append(f"{step.name}: {step.benchmark} -> {end}\n{step.run_config}")
    return "\n".join(lines)
