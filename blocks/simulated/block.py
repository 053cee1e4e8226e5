"""The simulated backend: a scripted timeline that any process can look at."""

import json
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from proctor.blocks.backend import Backend
from proctor.blocks.errors import BackendError, ResultError
from proctor.blocks.job import JobHandle, JobSpec, JobState, JobStatus
from proctor.blocks.simulated.render import render
from proctor.blocks.simulated.timeline import SAMPLES, Submitted, status
from proctor.configs.execution_schema import SimulatedExecution


class SimulatedBackend(Backend):
    """Runs nothing and follows a script; what was submitted lies as JSON in the evaluation's folder."""

    _block_type_name = "Proctor Simulated Backend"
    _block_type_slug = "proctor-simulated"

    execution: SimulatedExecution = SimulatedExecution()

    def render(self, job: JobSpec) -> str:
        """The script of this job."""
        return render(job, self.execution)

    def submit(self, jobs: Sequence[JobSpec]) -> dict[str, JobHandle | BackendError]:
        """Remember the jobs; the clock does the rest."""
        return {job.name: self.submit_one(job) for job in jobs}

    def submit_one(self, job: JobSpec) -> JobHandle:
        """Remember one job unless it is there already."""
        handle = JobHandle(
            "simulated", job.name, job.evaluation, job.output_dir, tuple(step.name for step in job.steps)
        )
        memory = {
            "steps": {step.name: step.benchmark for step in job.steps},
            "configs": {step.name: step.run_config for step in job.steps},
            "max_parallel": job.max_parallel,
            "server": job.server is not None,
            "time": time.time(),
            "cancelled": {},
        }
        path = memory_file(handle)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_json(path, memory)
        return handle

    def poll(self, handles: Collection[JobHandle]) -> dict[JobHandle, JobStatus]:
        """Where the script stands now."""
        return {handle: self.status(handle) for handle in handles}

    def status(self, handle: JobHandle) -> JobStatus:
        """Where one job stands now; UNKNOWN when it was never submitted."""
        memory = recall(handle)
        if memory is None:
            return JobStatus(JobState.UNKNOWN, message="never submitted")
        fields = ("steps", "max_parallel", "server", "time", "cancelled")
        return status(Submitted(**{field: memory[field] for field in fields}), self.execution, time.time())

    def logs(self, handle: JobHandle, step: str | None, *, follow: bool, tail: int) -> Iterator[str]:
        """A line about the step's state, again at each change while followed."""
        last = None
        while True:
            now = self.status(handle)
            seen = now.steps[step].state if step and step in now.steps else now.state
            if seen != last:
                yield f"{step or 'server'}: {seen}"
            last = seen
            if not follow or seen.final:
                return
            time.sleep(0.1)

    def cancel(self, handles: Collection[JobHandle], step: str | None = None) -> dict[JobHandle, JobStatus]:
        """Note the time of the cancellation."""
        for handle in handles:
            memory = recall(handle)
            if memory is not None:
                steps = [step] if step else list(memory["steps"])
                memory["cancelled"] = dict.fromkeys(steps, time.time()) | memory["cancelled"]
                write_json(memory_file(handle), memory)
        return self.poll(handles)

    def fetch(self, handle: JobHandle, step: str, dest: Path) -> Path:
        """A results.yml that says what the script says."""
        memory = recall(handle)
        if memory is None or step not in memory["steps"]:
            raise ResultError(f"{step}: {handle.name} was never submitted")
        folder = dest / step
        folder.mkdir(parents=True, exist_ok=True)
        config = yaml.safe_load(memory["configs"][step])
        name = memory["steps"][step].rpartition(".")[2]
        score = {"value": self.execution.score, "stats": {"count": SAMPLES, "stderr": 0.05}}
        found = {name: {"metrics": {"accuracy": {"scores": {"accuracy": score}}}}}
        if self.status(handle).steps[step].state is JobState.COMPLETED:
            (folder / "results.yml").write_text(yaml.safe_dump({**config, "results": {"tasks": found, "groups": {}}}))
        (folder / "run_config.yml").write_text(memory["configs"][step])
        (folder / "harness.log").write_text(f"{step} was simulated\n")
        return folder


def memory_file(handle: JobHandle) -> Path:
    """Where a submitted job is remembered."""
    return Path(handle.output_dir) / ".proctor" / f"{handle.name}.json"


def recall(handle: JobHandle) -> dict[str, Any] | None:
    """What was remembered of a job, or None."""
    try:
        remembered: dict[str, Any] = json.loads(memory_file(handle).read_text())
    except OSError:
        return None
    return remembered


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file whole, by rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content))
    temporary.rename(path)
