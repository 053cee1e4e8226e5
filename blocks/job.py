"""The values that cross the backend interface: what to run, where it runs, how it is doing. Frozen and pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal


class JobState(StrEnum):
    """The states of a job or of one of its steps."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"

    @property
    def final(self) -> bool:
        """Whether this state never changes again."""
        return self in {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED}


EnvSource = Literal["host", "secret", "runtime", "lit"]


@dataclass(frozen=True, slots=True)
class EnvVar:
    """One environment variable of a container: its name and where its value comes from, never a secret value.

    `host` reads the variable `value` where Proctor runs, `secret` a Prefect Secret block of that name, `runtime` the
    variable `value` where the job runs, and `lit` is the text itself.
    """

    name: str
    source: EnvSource
    value: str


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of the machine where the job runs, seen inside the container."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """The software environment of a step or a server.

    Backends with a container engine use `image` (by digest where one is known); the others build a virtual environment
    from `packages` (requirement specifiers, folders, or lock files `*.txt`).
    """

    image: str | None = None
    packages: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    mounts: tuple[Mount, ...] = ()


@dataclass(frozen=True, slots=True)
class Server:
    """A model server that lives as long as the job does and serves every step of it."""

    kind: str
    container: Container
    command: str | None
    """Shell text; `{port}` in it is not expanded. None runs what the image starts by itself."""
    port: int
    served_model: str
    health_path: str = "/health"
    models_path: str = "/v1/models"
    ready_timeout: float = 600.0
    """Seconds until the server must answer, model loading included."""
    pre_cmd: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One benchmark of a job: a container that runs a harness once."""

    name: str
    """Unique in its job and safe as a folder name, for instance `mmath_en.0`."""
    benchmark: str
    """Full name, `harness.benchmark`."""
    container: Container
    run_config: str
    """The YAML document that the harness reads (`nemo-evaluator run_eval --run_config`)."""
    endpoint_url: str
    timeout: float | None = None
    """Wall-clock seconds for the harness command; None for no limit."""
    pre_cmd: str = ""
    post_cmd: str = ""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One unit that a backend accepts: an optional server plus ordered benchmark steps."""

    name: str
    """Derived from the evaluation, the plan and the attempt; at most 63 characters of [a-z0-9-]."""
    evaluation: str
    """The 8 hex digits of the evaluation, which every label carries."""
    output_dir: str
    """Absolute folder of the evaluation where the job runs; each step writes into `output_dir/<step.name>`."""
    steps: tuple[Step, ...]
    server: Server | None = None
    max_parallel: int = 1
    attempt: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobHandle:
    """How to find a submitted job again, from any process: JSON-able and hashable."""

    backend: str
    """The execution type that owns it, for instance `local`."""
    name: str
    evaluation: str
    output_dir: str
    steps: tuple[str, ...] = ()
    native_id: str = ""
    """The backend's own name for it (a Slurm job id, a Lepton job id), where it has one."""

    def to_json(self) -> dict[str, Any]:
        """The handle as plain JSON values."""
        return asdict(self) | {"steps": list(self.steps)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "JobHandle":
        """The handle that `to_json` described."""
        return cls(**{**data, "steps": tuple(data["steps"])})


@dataclass(frozen=True, slots=True)
class StepStatus:
    """How one benchmark of a job is doing."""

    state: JobState
    exit_code: int | None = None
    message: str = ""
    """In words, for a person: `waits for its turn`, `server loading`, `interrupted by SIGTERM`."""
    started: datetime | None = None
    ended: datetime | None = None
    requests: int | None = field(default=None, compare=False)
    """Requests answered so far, where the backend can count them. A step that only gets on is no change of its status."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """How the model server of a job is doing; RUNNING means that it answers."""

    state: JobState
    message: str = ""
    log_tail: str = ""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How a job is doing, as last seen."""

    state: JobState
    steps: Mapping[str, StepStatus] = field(default_factory=dict)
    server: ServerStatus | None = None
    exit_code: int | None = None
    message: str = ""
    image_digests: Mapping[str, str] = field(default_factory=dict)
    """By step name (and `server`): the digest of the image that really runs, where the backend knows."""
    observed: datetime | None = None
    """When the backend was last seen to confirm this; None when it never was."""
    confirmed: bool = True
    """False where nobody could be asked who runs it: what it says is what its files said before, too."""
