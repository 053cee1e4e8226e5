"""A config by the name of its file, for schedules and `prefect deployment run`: read where and when the run starts."""

from pydantic import Field

from proctor.configs.fields import Section


class ConfigFile(Section):
    """Which file, and what to change in it."""

    file: str = Field(
        description="Path of a config where the worker runs, or examples/NAME for one of ours. Relative paths in it are "
        "relative to its folder."
    )
    overrides: list[str] = Field(default_factory=list, description="Changes, each as after `proctor run -o`.")
    tasks: list[str] = Field(default_factory=list, description="Only these benchmarks, each as after `-t`.")
