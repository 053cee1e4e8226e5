"""The `execution:` section: where the jobs run, one model for each backend."""

from importlib.metadata import entry_points
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Discriminator, Field, Tag

from proctor.configs.fields import DockerHost, EnvMap, Gpus, Network, Seconds, Section, Size, User
from proctor.configs.lepton_fields import LeptonEndpoint, LeptonMount


class BaseExecution(Section):
    """What every place to run has in common."""

    output_dir: str = Field("./results", description="Folder under which each evaluation gets a folder of its own.")
    env_vars: EnvMap = Field(default_factory=dict)
    max_parallel: int | None = Field(None, ge=1, description="How many benchmarks run at the same time.")
    benchmark_timeout: Seconds | None = Field(
        None, description="Wall-clock limit of one benchmark (HH:MM:SS or seconds); then it is ended and marked failed."
    )
    endpoint_readiness_timeout: Seconds = Field(
        600.0, description="Seconds until the model server (or the endpoint, when nothing is deployed) must answer."
    )
    server_per_benchmark: bool = Field(
        False, description="Start the model server again for every benchmark instead of once for all of them."
    )
    patience: Seconds = Field(
        86400.0,
        description="How long a backend may stay out of sight before we give up on it; its jobs are left alone.",
    )
    poll_interval: Seconds | None = Field(
        None, description="Seconds between two looks at the jobs; the default fits the backend."
    )
    stall_timeout: Seconds | None = Field(
        None, description="A benchmark that runs without a new answered request for so long is flagged as stalled."
    )
    stall_action: Literal["flag", "cancel"] = Field("flag", description="What to do with a stalled benchmark besides.")
    max_attempts: int = Field(
        3,
        ge=1,
        description="How often a benchmark that was lost (not failed) is started again with its response cache.",
    )

    @property
    def parallel(self) -> int:
        """How many benchmarks run at the same time."""
        return self.max_parallel or 1

    @property
    def shortest_interval(self) -> float:
        """Seconds between two looks that whoever runs the jobs bears; a shorter `poll_interval` counts as this."""
        return 0.0

    @property
    def tied_to_its_machine(self) -> bool:
        """Whether the jobs live where they were submitted, so that only an engine on that machine finds them again."""
        return False


class LocalExecution(BaseExecution):
    """Docker containers on this machine, or on the engine that DOCKER_HOST names."""

    type: Literal["local"] = "local"
    mode: Literal["sequential", "parallel"] = Field(
        "sequential", description="One benchmark after the other, or at the same time."
    )
    docker_host: DockerHost | None = Field(
        None, description="unix://, tcp:// or ssh:// address of the engine; default: DOCKER_HOST."
    )
    shares_files: bool | None = Field(
        None,
        description="Whether the engine sees this machine's folders; found out by default. Without, files travel by its API.",
    )
    docker_args: list[str] = Field(
        default_factory=list, description="Flags as for `docker run`, for instance --gpus=all."
    )
    extra_docker_args: str = Field("", description="The same as one string of flags.")
    memory_limit: Size | None = Field(None, description="Memory of one container, for instance 64g.")
    cpus: float | None = Field(None, gt=0, description="CPUs of one container.")
    shm_size: Size | None = Field(None, description="Size of /dev/shm, for instance 16g.")
    gpus: Gpus | None = Field(
        None, description="all, none, a number, or device=0,1; servers get all GPUs by default where there are any."
    )
    mounts: list[str] = Field(default_factory=list, description="SOURCE:TARGET[:ro] for benchmarks and servers.")
    network: Network | None = Field(
        None, description="Docker network; default: host for an endpoint on this machine, else a bridge."
    )
    user: User | None = Field(
        None,
        description="uid[:gid] inside the containers; default: yours, so that results belong to you. Another one needs "
        "Proctor to run as root, which gives the folders of the benchmarks to it and takes the results back.",
    )
    pull: Literal["missing", "always", "never"] = Field("missing", description="When to pull images.")
    registry_auth: str | None = Field(
        None, description="Name of a Prefect Secret block with {username, password} for the registry."
    )

    @property
    def parallel(self) -> int:
        """`max_parallel`, or in parallel mode 8 (and 1 in sequential mode) when it is not given."""
        return self.max_parallel or (8 if self.mode == "parallel" else 1)

    @property
    def tied_to_its_machine(self) -> bool:
        """Unless the config names an engine that every machine reaches."""
        return self.docker_host is None or self.docker_host.startswith("unix:")


class ProcessExecution(BaseExecution):
    """Local processes in cached virtual environments; needs no container engine."""

    type: Literal["process"] = "process"
    mode: Literal["sequential", "parallel"] = Field(
        "sequential", description="One benchmark after the other, or at the same time."
    )
    cache_dir: str | None = Field(
        None, description="Where the virtual environments are kept; default: the user's cache folder."
    )
    python: str | None = Field(
        None, description="Python version or path of the environments; default: the one Proctor runs on."
    )

    @property
    def parallel(self) -> int:
        """`max_parallel`, or in parallel mode 8 (and 1 in sequential mode) when it is not given."""
        return self.max_parallel or (8 if self.mode == "parallel" else 1)

    @property
    def tied_to_its_machine(self) -> bool:
        """They are its processes."""
        return True


class SlurmExecution(BaseExecution):
    """A Slurm cluster, over SSH."""

    type: Literal["slurm"] = "slurm"
    hostname: str | None = Field(None, description="Login node, or a Host of ~/.ssh/config.")
    username: str | None = Field(None, description="Default: the SSH config's.")
    ssh_key_path: str | None = Field(None, description="Private key; default: the SSH config's or the agent's.")
    ssh_control_path: str | None = Field(None, description="An existing OpenSSH control socket to go through.")
    ssh_config: str | None = Field(None, description="An SSH config file instead of ~/.ssh/config and the system's.")
    account: str | None = Field(None, description="Account that the job is charged to; default: the user's own.")
    partition: str | None = Field(None, description="Partition; default: the cluster's.")
    qos: str | None = Field(None, description="Quality of service; default: the account's.")
    nodes: int = Field(1, ge=1, description="Nodes of a job.")
    num_instances: int = Field(
        1, ge=1, description="Independent copies of the server, behind a load balancer when more than one."
    )
    ntasks_per_node: int = Field(
        1, ge=1, description="As for sbatch; the server and each benchmark are one task anyway."
    )
    gpus_per_node: int | None = Field(None, ge=0, description="GPUs of a node, for the server or else the benchmarks.")
    gres: str | None = Field(None, description="Generic resources as for sbatch, for instance gpu:h100:8.")
    cpus_per_task: int | None = Field(None, ge=1, description="CPUs of a task.")
    memory: str | None = Field(None, description="Memory of a node, for instance 256G.")
    walltime: Seconds = Field(3600.0, description="Limit of one job: HH:MM:SS, D-HH:MM:SS or seconds.")
    max_walltime: Seconds | None = Field(432000.0, description="Limit of all attempts of a job together.")
    container_runtime: Literal["pyxis", "apptainer", "podman", "docker", "charliecloud", "none"] = Field(
        "pyxis", description="What runs images on the nodes; none builds virtual environments instead."
    )
    container_mounts: list[str] = Field(
        default_factory=list, description="SOURCE:TARGET[:ro] for benchmarks and servers."
    )
    mount_home: bool = Field(True, description="Whether containers see the user's home, where the runtime asks.")
    image_cache: str | None = Field(
        None, description="Folder of the cluster for imported images and environments; default: in output_dir."
    )
    proxy_image: str = Field("haproxy:lts", description="Image of the load balancer in front of num_instances servers.")
    local_dir: str = Field(
        "./results", description="Folder of this machine under which each evaluation's results come home."
    )
    fetch_cache: bool = Field(False, description="Bring the response caches home too; they may be large.")
    split: int = Field(1, ge=1, description="Over how many jobs the benchmarks are spread; each gets its own server.")
    unresolvable: Literal["wait", "cancel"] = Field(
        "wait",
        description="What to do with a job that waits for something that will never come: leave it, or cancel it.",
    )
    sbatch_comment: str | None = Field(None, description="Comment of the job.")
    sbatch_extra_flags: dict[str, str | int | float | bool | None] = Field(
        default_factory=dict, description="Further flags of sbatch by their long names; true for one without a value."
    )
    exclusive: bool = Field(False, description="Share the nodes with no other job.")
    reservation: str | None = Field(None, description="Reservation to run in.")
    dependency: str | None = Field(None, description="Jobs to wait for as sbatch writes it, for instance afterok:4711.")
    mail: str | None = Field(None, description="Address that Slurm mails at the end or failure of a job.")
    requeue: bool = Field(
        False, description="Let Slurm requeue a job by itself; otherwise Proctor starts the rest again."
    )


class LeptonResults(Section):
    """How the output of a job of the Lepton cloud comes home."""

    via: Literal["log", "mount", "object"] = Field(
        "log",
        description="Through the job's log (small results), a volume on which output_dir lies, or an object store.",
    )
    volume: str | None = Field(None, description="The volume with `via: mount`, for instance node-nfs:shared.")
    path: str = Field("/", description="The folder of that volume which this machine sees as output_dir.")
    url: str | None = Field(None, description="fsspec URL of a folder with `via: object`, for instance s3://bucket/x.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="Options of that fsspec file system, for instance endpoint_url; no keys."
    )
    log_limit: int = Field(8, ge=1, le=64, description="MiB of packed results that may go through a log.")


class LeptonExecution(BaseExecution):
    """The Lepton cloud."""

    type: Literal["lepton"] = "lepton"
    workspace: str | None = Field(None, description="Workspace id; default: LEPTON_WORKSPACE_ID or the SDK's login.")
    workspace_url: str | None = Field(
        None, description="URL of the workspace's API; default: LEPTON_WORKSPACE_URL or that of DGX Cloud Lepton."
    )
    token: str | None = Field(
        None,
        pattern=r"^(host|secret):.+",
        description="Where the token is read, host:NAME or secret:BLOCK; default: LEPTON_API_TOKEN, "
        "LEPTON_WORKSPACE_TOKEN or the SDK's login.",
    )
    resource_shape: str = Field(
        "cpu.small", description="Shape of a benchmark job; `proctor ls shapes --backend lepton` names them."
    )
    num_replicas: int = Field(1, ge=1, description="Copies of the model server behind its endpoint.")
    node_group: str | None = Field(None, description="Name or id of the node group for the benchmark jobs.")
    mounts: list[LeptonMount] = Field(
        default_factory=list,
        description="Volumes as {from, path, mount_path, mount_options}, for jobs and the model server.",
    )
    image_pull_secrets: list[str] = Field(default_factory=list, description="Registry logins made in Lepton's UI.")
    shared_memory_size: int | None = Field(None, ge=0, description="MiB of /dev/shm.")
    priority: str | None = Field(None, description="Queue priority, for instance mid-4000.")
    reservation: str | None = Field(None, description="Id of a reservation of the node group.")
    endpoint_resource_shape: str | None = Field(None, description="Shape of the model server; default: resource_shape.")
    endpoint_node_group: str | None = Field(None, description="Node group of the model server; default: node_group.")
    endpoint: LeptonEndpoint = Field(default_factory=LeptonEndpoint)
    split: int | None = Field(
        None,
        ge=1,
        description="Over how many jobs the benchmarks are spread, which run theirs one after the other; default: every "
        "benchmark is a job of its own. They share one model server.",
    )
    queue_timeout: Seconds = Field(
        86400.0, description="A job that waits for capacity for so long is given up: Lepton itself has no such limit."
    )
    results: LeptonResults = Field(default_factory=LeptonResults)

    @property
    def parallel(self) -> int:
        """`max_parallel` (of jobs, each of which runs one benchmark at a time), or as many as there are."""
        return self.max_parallel or 1000

    @property
    def shortest_interval(self) -> float:
        """Ten seconds: its API is made for people. A service on this machine bears any."""
        return 0.0 if urlsplit(self.workspace_url or "").hostname in {"127.0.0.1", "localhost", "::1"} else 10.0


class SimulatedExecution(BaseExecution):
    """Runs nothing: follows a script of states. For tests, demonstrations of the UI and load measurements."""

    type: Literal["simulated"] = "simulated"
    step_seconds: float = Field(1.0, ge=0, description="How long each benchmark seems to run.")
    pending_seconds: float = Field(0.0, ge=0, description="How long a job seems to wait in a queue.")
    fail: list[str] = Field(default_factory=list, description="Benchmarks that end with exit code 1.")
    vanish: list[str] = Field(
        default_factory=list, description="Benchmarks about which nothing is known any more once they run."
    )
    score: float = Field(0.5, description="The accuracy that every benchmark reports.")

    @property
    def tied_to_its_machine(self) -> bool:
        """They are files in its output folder."""
        return True


BACKENDS = "proctor.backends"
"""The entry point group in which packages name their backends, by execution type."""
BUILTIN_EXECUTIONS = ("local", "process", "slurm", "lepton", "simulated")


def custom_executions() -> list[str]:
    """The types of backends that other packages bring to this installation."""
    return sorted({point.name for point in entry_points(group=BACKENDS)} - set(BUILTIN_EXECUTIONS))


def installed_only(schema: dict[str, Any]) -> None:
    """Let a deployment refuse other types at creation: it accepts the backends that were installed where it was made."""
    known = custom_executions()
    schema["enum" if known else "not"] = known or {}


class CustomExecution(BaseExecution):
    """A backend of somebody else's, found by the entry point group `proctor.backends`; it reads its own `options`."""

    type: str = Field(description="The name of the entry point.", json_schema_extra=installed_only)
    options: dict[str, Any] = Field(default_factory=dict, description="Checked by the backend itself.")


def section_of(value: Any) -> str:
    """Which of the sections a value is; every type that is none of ours is `custom`."""
    kind = value.get("type", "local") if isinstance(value, dict) else getattr(value, "type", "local")
    return kind if kind in BUILTIN_EXECUTIONS else "custom"


Execution = Annotated[
    Annotated[LocalExecution, Tag("local")]
    | Annotated[ProcessExecution, Tag("process")]
    | Annotated[SlurmExecution, Tag("slurm")]
    | Annotated[LeptonExecution, Tag("lepton")]
    | Annotated[SimulatedExecution, Tag("simulated")]
    | Annotated[CustomExecution, Tag("custom")],
    Discriminator(section_of),
]
