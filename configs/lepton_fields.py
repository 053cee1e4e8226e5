"""Parts of the Lepton section of a config that have keys of their own."""

from pydantic import ConfigDict, Field

from proctor.configs.fields import Section


class MountOptions(Section):
    """How a volume is mounted."""

    read_only: bool | None = Field(None, description="Whether nothing can be written there.")
    local_cache_size_mib: int | None = Field(None, ge=0, description="MiB of the node that cache the volume.")


class LeptonMount(Section):
    """A folder of a volume, as containers see it."""

    model_config = ConfigDict(serialize_by_alias=True)

    volume: str = Field(alias="from", pattern=r"^node-", description="For instance node-nfs:shared, or node-local.")
    path: str = Field("/", description="The folder of that volume.")
    mount_path: str = Field(pattern="^/", description="Where containers see it.")
    mount_options: MountOptions | None = Field(None, description="How it is mounted.")


class TargetThroughput(Section):
    """How many requests a copy is to answer."""

    qpm: float | None = Field(None, ge=0, description="Requests in a minute.")
    paths: list[str] | None = Field(None, description="Only requests to these paths count.")
    methods: list[str] | None = Field(None, description="Only requests by these HTTP methods count.")


class LeptonScaler(Section):
    """When there are more copies than `min_replicas`; an endpoint is never scaled down to none while it is needed."""

    target_gpu_utilization_percentage: int | None = Field(
        None, ge=0, le=100, description="A copy more where the GPUs are busier than this."
    )
    target_throughput: TargetThroughput | None = Field(None, description="A copy more where more is asked than this.")


class SecurityContext(Section):
    """As whom a container runs."""

    no_specific_user: bool | None = Field(None, description="Run as the image's own user.")
    privileged: bool | None = Field(None, description="Run with every privilege on the node.")


class LeptonEndpoint(Section):
    """What is special about the model server; what is not set is as for the benchmarks' jobs."""

    image_pull_secrets: list[str] | None = Field(None, description="Registry logins for the server's image.")
    shared_memory_size: int | None = Field(None, ge=0, description="MiB of /dev/shm.")
    priority: str | None = Field(None, description="Queue priority, for instance mid-4000.")
    can_be_preempted: bool | None = Field(None, description="Whether others may take the server's place.")
    reservation: str | None = Field(
        None, description="Default: that of the jobs, where jobs and server have one node group."
    )
    min_replicas: int | None = Field(None, ge=1, description="Fewest copies; default: num_replicas, the most.")
    auto_scaler: LeptonScaler | None = Field(None, description="When there are more copies.")
    liveness_delay: int | None = Field(
        None, ge=0, description="Seconds after its start from which Lepton restarts a server that does not answer."
    )
    user_security_context: SecurityContext | None = Field(None, description="As whom the container runs.")
