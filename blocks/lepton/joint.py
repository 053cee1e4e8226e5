"""What the benchmarks of one Lepton job share, and what each of them has for itself; pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from proctor.configs.errors import ConfigError

SHELL_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Variables:
    """The environment of a job whose benchmarks do not all have the same."""

    documents: list[Document]
    """What the job is given: one that is not everybody's is there under a name of its own."""
    own: list[dict[str, str]] = field(default_factory=list)
    """For each benchmark: its variables that are not everybody's, and their names in the job."""


def joint_variables(groups: Sequence[Sequence[Document]]) -> Variables:
    """The variables of benchmarks in one job, so that none sees what only another one was given.

    Raises ConfigError for one that no shell could give its name back.
    """
    common = [each for each in groups[0] if all(each in group for group in groups)]
    found = Variables(common)
    for index, group in enumerate(groups):
        names = {}
        for each in (each for each in group if each not in common):
            name = str(each["name"])
            if not SHELL_NAME.fullmatch(name):
                raise ConfigError(f"env_vars.{name}: benchmarks that share a job (execution.split) must agree about it")
            names[name] = f"PROCTOR_{index}_{name}"
            found.documents.append({**each, "name": names[name]})
        found.own.append(names)
    return found


def joint_mounts(groups: Sequence[Sequence[Document]]) -> list[Document]:
    """The folders that benchmarks in one job see. Raises ConfigError for two folders at one place."""
    found: list[Document] = []
    for each in (each for group in groups for each in group if each not in found):
        place = each["mount_path"]
        taken = next((other for other in found if other["mount_path"] == place), None)
        if taken and len(groups) > 1 and taken != each:
            raise ConfigError(
                f"execution.split: benchmarks that share a job cannot see both {taken['from']}:{taken.get('path', '/')} and "
                f"{each['from']}:{each.get('path', '/')} as {place}; give one another dataset_mount_path"
            )
        if each not in found:
            found.append(each)
    return found
