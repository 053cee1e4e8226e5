"""The config of an evaluation that was started by the name of its file: read once, and kept with the run."""

import asyncio
from pathlib import Path

from proctor.configs import records
from proctor.configs.config_file import ConfigFile
from proctor.configs.errors import ConfigError
from proctor.configs.load import load
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.api import api
from proctor.tasks.records import EvaluationRun


async def pinned(run: EvaluationRun, named: ConfigFile) -> EvaluationConfig:
    """The config in the file, which from now on is the run's parameter: the file may change, a resumed run does not.

    Raises ConfigError for any mistake in it; then the run is named after the file, so that its id finds it.
    """
    try:
        config = await asyncio.to_thread(read, named)
    except ConfigError:
        tags = [*run.tags, records.evaluation_tag(run.id)]
        await api().update_flow_run(run.flow_run_id, name=f"{Path(named.file).stem} {run.id}", tags=tags)
        raise
    return await kept(run, config)


async def kept(run: EvaluationRun, config: EvaluationConfig) -> EvaluationConfig:
    """The config, which from now on is the run's parameter."""
    parameters = {"config": config.model_dump(mode="json", exclude_unset=True)}
    await api().update_flow_run(run.flow_run_id, parameters=parameters)
    return config


def read(named: ConfigFile) -> EvaluationConfig:
    """The config in the file. Raises ConfigError."""
    path = Path(named.file).expanduser()
    ours = path.parent == Path("examples") and not path.parent.is_dir()
    if ours:
        return load("examples", path.name, named.overrides, named.tasks)
    base = f'base_dir="{path.parent.absolute()}"'
    return load(path.parent, path.name, [base, *named.overrides], named.tasks)
