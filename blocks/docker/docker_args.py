"""The flags of `docker run` that a config may hold, as arguments of the Docker SDK; pure.

The names on the right are those of `docker.models.containers.ContainerCollection.create` (docker-py 7).
"""

import argparse
import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NoReturn

from proctor.blocks.job import EnvVar, Mount
from proctor.configs.errors import ConfigError
from proctor.configs.fields import GPUS, SIZE, USER

TEXT = {
    "--shm-size": "shm_size",
    "--memory": "mem_limit",
    "--memory-swap": "memswap_limit",
    "--cpuset-cpus": "cpuset_cpus",
    "--ipc": "ipc_mode",
    "--pid": "pid_mode",
    "--uts": "uts_mode",
    "--runtime": "runtime",
    "--user": "user",
    "--hostname": "hostname",
    "--workdir": "working_dir",
    "--network": "network",
    "--platform": "platform",
}
NUMBERS = {"--pids-limit": "pids_limit", "--cpu-shares": "cpu_shares", "--oom-score-adj": "oom_score_adj"}
LISTS = {
    "--cap-add": "cap_add",
    "--cap-drop": "cap_drop",
    "--device": "devices",
    "--security-opt": "security_opt",
    "--group-add": "group_add",
    "--dns": "dns",
}
PAIRS = {
    "--add-host": ("extra_hosts", ":"),
    "--tmpfs": ("tmpfs", ":"),
    "--label": ("labels", "="),
    "--sysctl": ("sysctls", "="),
}
SWITCHES = {"--privileged": "privileged", "--init": "init", "--read-only": "read_only"}
VALUES = {
    "shm_size": (SIZE, "a size such as 16g"),
    "mem_limit": (SIZE, "a size such as 64g"),
    "memswap_limit": (f"-1|{SIZE}", "a size such as 64g, or -1"),
    "user": (USER, "uid or uid:gid in numbers"),
    "gpus": (GPUS, "all, none, a number, or device=0,1"),
    "uts_mode": ("host", "host"),
}
"""What the values of some flags look like, by the SDK's names; the engine would refuse others, or take them for something else."""
OFF = {f"{flag}=false" for flag in SWITCHES}
SHORT = {
    "-m": "--memory",
    "-u": "--user",
    "-h": "--hostname",
    "-w": "--workdir",
    "-e": "--env",
    "-v": "--volume",
    "-l": "--label",
}
SHORT |= {"--net": "--network"}
OURS = {"--rm", "-d", "--detach", "--name", "--entrypoint", "-i", "-t", "-it", "--restart", "--cidfile"}
"""Flags by which Proctor itself runs and finds its containers."""


@dataclass(frozen=True, slots=True)
class DockerArgs:
    """The parsed flags."""

    options: dict[str, Any] = field(default_factory=dict)
    """SDK arguments by name."""
    env: tuple[EnvVar, ...] = ()
    mounts: tuple[Mount, ...] = ()
    gpus: str | None = None
    ulimits: tuple[tuple[str, int, int], ...] = ()
    """Name, soft and hard limit."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose complaints are ConfigErrors."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of ending the process."""
        raise ConfigError(f"execution.docker_args: {message}")


def parse(flags: Sequence[str]) -> DockerArgs:
    """The flags as SDK arguments. Raises ConfigError, naming the nearest one, for a flag that is unknown or ours."""
    words = [word for flag in flags for word in split(flag) if word not in OFF]
    refuse_unknown(words)
    found = vars(parser().parse_args(words))
    refuse_values(found)
    options = {
        name: found[name] for name in [*TEXT.values(), *NUMBERS.values(), *LISTS.values()] if found[name] is not None
    }
    options |= {name: True for name in SWITCHES.values() if found[name]}
    for name, mark in PAIRS.values():
        if found[name]:
            options[name] = {key: value for key, _, value in (pair.partition(mark) for pair in found[name])}
    if found["cpus"] is not None:
        options["nano_cpus"] = int(found["cpus"] * 1e9)
    return DockerArgs(
        options=options,
        env=tuple(env(text) for text in found["env"] or ()),
        mounts=(*(volume(text) for text in found["volume"] or ()), *(mount(text) for text in found["mount"] or ())),
        gpus=found["gpus"],
        ulimits=tuple(ulimit(text) for text in found["ulimit"] or ()),
    )


def split(flag: str) -> list[str]:
    """One list entry as words: `--gpus all` in one entry is two words; `--gpus=all` stays one."""
    if flag.removesuffix("=true") in SWITCHES:
        return [flag.removesuffix("=true")]
    return (
        shlex.split(flag)
        if flag.startswith("-") and " " in flag and "=" not in flag.split(" ", maxsplit=1)[0]
        else [flag]
    )


@cache
def parser() -> Parser:
    """All flags that we know."""
    known = Parser(prog="docker run", add_help=False, allow_abbrev=False)

    def add(flag: str, **how: Any) -> None:
        known.add_argument(flag, *(short for short, long in SHORT.items() if long == flag), **how)

    for flag, name in TEXT.items():
        add(flag, dest=name)
    for flag, name in NUMBERS.items():
        add(flag, dest=name, type=int)
    for flag, name in LISTS.items():
        add(flag, dest=name, action="append")
    for flag, (name, _) in PAIRS.items():
        add(flag, dest=name, action="append")
    for flag, name in SWITCHES.items():
        add(flag, dest=name, action="store_true")
    add("--cpus", type=float)
    add("--gpus")
    for flag in ("--env", "--volume", "--mount", "--ulimit"):
        add(flag, action="append")
    return known


def refuse_unknown(words: Sequence[str]) -> None:
    """Raise ConfigError for the first flag that we do not pass on."""
    known = [
        *TEXT,
        *NUMBERS,
        *LISTS,
        *PAIRS,
        *SWITCHES,
        *SHORT,
        "--cpus",
        "--gpus",
        "--env",
        "--volume",
        "--mount",
        "--ulimit",
    ]
    for word in words:
        flag = word.split("=")[0]
        if flag in OURS:
            raise ConfigError(f"execution.docker_args: {flag} is Proctor's own to set; remove it")
        if flag.startswith("-") and flag not in known and not flag[1:].isdigit():
            near = difflib.get_close_matches(flag, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it knows {' '.join(sorted(known))}"
            raise ConfigError(f"execution.docker_args: unknown flag {flag}; {hint}")


def refuse_values(found: Mapping[str, Any]) -> None:
    """Raise ConfigError for the first value that cannot be meant."""
    for name, (pattern, words) in VALUES.items():
        value = found[name]
        if value is not None and not re.fullmatch(pattern, value):
            flag = next((flag for flag, known in TEXT.items() if known == name), f"--{name}")
            raise ConfigError(f"execution.docker_args: {flag} {value!r} does not fit; write {words}")


def env(text: str) -> EnvVar:
    """`NAME=VALUE`, or `NAME` for the variable of the machine where Proctor runs."""
    name, equals, value = text.partition("=")
    return EnvVar(name, "lit", value) if equals else EnvVar(name, "host", name)


def volume(text: str) -> Mount:
    """`SOURCE:TARGET[:ro]`."""
    parts = text.split(":")
    if len(parts) not in {2, 3}:
        raise ConfigError(f"execution.docker_args: --volume {text} is no SOURCE:TARGET[:ro]")
    return Mount(parts[0], parts[1], read_only="ro" in ",".join(parts[2:]).split(","))


def mount(text: str) -> Mount:
    """`type=bind,source=...,target=...[,readonly]`."""
    pairs = {key: value for key, _, value in (part.partition("=") for part in text.split(","))}
    source, target = pairs.get("source") or pairs.get("src"), pairs.get("target") or pairs.get("dst")
    if pairs.get("type", "bind") != "bind" or not source or not target:
        raise ConfigError(f"execution.docker_args: --mount {text} is no type=bind,source=SOURCE,target=TARGET")
    return Mount(source, target, read_only="readonly" in pairs or "ro" in pairs)


def ulimit(text: str) -> tuple[str, int, int]:
    """`NAME=SOFT[:HARD]`."""
    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    try:
        return name, int(soft), int(hard or soft)
    except ValueError:
        raise ConfigError(f"execution.docker_args: --ulimit {text} is no NAME=SOFT[:HARD]") from None
