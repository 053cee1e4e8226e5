"""Parts of the Lepton section of a config that have keys of their own."""

from pydantic import ConfigDict, Field

from proctor.configs.fields import Section


class MountOptions(Section):
    """How a volume is mounted."""

    read_only: bool | None = None
    local_cache_size_mib: int | None = Field(None, ge=0, description="MiB of the node that cache the volume.")


class LeptonMount(Section):
    """A folder of a volume, as containers see it."""

    model_config = ConfigDict(serialize_by_alias=True)

    volume: str = Field(alias="from", pattern=r"^node-", description="For instance node-nfs:shared, or node-local.")
    path: str = Field("/", description="The folder of that volume.")
    mount_path: str = Field(pattern="^/", description="Where containers see it.")
    mount_options: MountOptions | None = None
