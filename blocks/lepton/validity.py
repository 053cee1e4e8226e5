"""What the SDK, or Lepton at once, would refuse of a job's documents: found before anything is sent."""

from collections.abc import Callable, Mapping
from typing import Any

from proctor.blocks.job import JobSpec
from proctor.blocks.lepton.render import benchmark_job, endpoint, without_none
from proctor.blocks.lepton.shares import shares, steps_of
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import LeptonExecution


def check_documents(job: JobSpec, execution: LeptonExecution) -> None:
    """Raise ConfigError for the first thing in the documents of a job that cannot be right."""
    if job.server:
        refusing("deployment", check_endpoint, endpoint(job, job.server, execution))
    for share in shares(job, execution):
        first = steps_of(job, share)[0].benchmark
        refusing(first, check_job, benchmark_job(job, share, execution))


def refusing(where: str, check: Callable[[Mapping[str, Any]], None], document: Mapping[str, Any]) -> None:
    """Let a check speak with our error; no value of the document stands in it."""
    from pydantic import ValidationError  # noqa: PLC0415 (with the SDK's models)

    try:
        check(without_none(dict(document)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: Lepton's {place} is wrong: {first['msg']}") from None
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {' '.join(str(error).split())}") from None


def check_job(document: Mapping[str, Any]) -> None:
    """The SDK's own check of a job."""
    from leptonai.api.v2.job_validation import validate_job_create  # noqa: PLC0415
    from leptonai.api.v2.types.job import LeptonJob  # noqa: PLC0415

    validate_job_create(LeptonJob(**document))


def check_endpoint(document: Mapping[str, Any]) -> None:
    """The same for an endpoint, whose variables and mounts the SDK leaves to the service."""
    from leptonai.api.v2.job_validation import validate_mount_path  # noqa: PLC0415
    from leptonai.api.v2.spec_utils import validate_environment_variable_name  # noqa: PLC0415
    from leptonai.api.v2.types.deployment import LeptonDeployment  # noqa: PLC0415

    spec = LeptonDeployment(**document).spec
    for each in (spec.envs or []) if spec else []:
        validate_environment_variable_name(each.name)
    for mount in (spec.mounts or []) if spec else []:
        validate_mount_path(mount.mount_path)
