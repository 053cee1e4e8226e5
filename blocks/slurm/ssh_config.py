"""What the user's SSH configuration says about a host, as OpenSSH itself reads it."""

import getpass
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proctor.configs.errors import ConfigError

LISTS = {"identityfile", "userknownhostsfile", "globalknownhostsfile", "certificatefile"}
TOKEN = re.compile("%(.)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where and as whom to log in."""

    hostname: str
    """The address that is connected to."""
    port: int
    user: str
    known_as: str
    """The name under which the host key is kept."""
    keys: tuple[str, ...]
    known_hosts: tuple[str, ...]
    proxy_command: str | None = None
    proxy_jump: str | None = None
    only_keys: bool = False
    """Whether an agent may only offer keys that `keys` name (IdentitiesOnly)."""


@dataclass(frozen=True, slots=True)
class Login:
    """The part of an `execution:` section that says how to reach the cluster; one connection for each."""

    hostname: str
    username: str | None = None
    key: str | None = None
    control_path: str | None = None
    config: str | None = None
    """An SSH config file instead of the user's and the system's."""


def place(login: Login) -> Place:
    """The place of a login, from the SSH configuration and from what was given explicitly, which wins."""
    found = options(login.hostname, login.config)
    explicit = (str(Path(login.key).expanduser()),) if login.key else ()
    if explicit and not Path(explicit[0]).is_file():
        raise ConfigError(f"execution.ssh_key_path: there is no file {login.key}")
    hostname, port = one(found, "hostname", login.hostname), int(one(found, "port", "22"))
    user = login.username or one(found, "user", "")
    tokens = {"%": "%", "h": hostname, "n": login.hostname, "p": str(port), "r": user, **caller()}
    tokens["k"] = one(found, "hostkeyalias", login.hostname)
    command = real(one(found, "proxycommand", "none"))
    hosts = [*found.get("userknownhostsfile", []), *found.get("globalknownhostsfile", [])]
    return Place(
        hostname=hostname,
        port=port,
        user=user,
        known_as=one(found, "hostkeyalias", hostname),
        keys=explicit or existing(found.get("identityfile", []), tokens),
        known_hosts=existing(hosts, tokens),
        proxy_command=expanded(command, tokens) if command else None,
        proxy_jump=real(one(found, "proxyjump", "none")),
        only_keys=one(found, "identitiesonly", "no") == "yes",
    )


def caller() -> dict[str, str]:
    """The tokens of ssh_config(5) that tell who asks."""
    return {"d": str(Path.home()), "u": getpass.getuser(), "i": str(os.getuid())}


def expanded(text: str, tokens: Mapping[str, str]) -> str:
    """A value with its tokens (`%h`) replaced, as OpenSSH does; one that it does not know stays."""
    return TOKEN.sub(lambda found: tokens.get(found[1], found[0]), text)


def options(host: str, config: str | None) -> dict[str, list[str]]:
    """Every option that applies to a host, in lower case, with its values."""
    if shutil.which("ssh") is None:
        return without_openssh(host, config)
    chosen = ["-F", config] if config else []
    done = subprocess.run(
        ["ssh", *chosen, "-G", "--", host],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise ConfigError(f"execution.hostname: ssh cannot read its configuration for {host!r}: {done.stderr.strip()}")
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        name, _, value = line.partition(" ")
        found.setdefault(name.lower(), []).extend(value.split() if name.endswith("knownhostsfile") else [value])
    return found


def without_openssh(host: str, config: str | None) -> dict[str, list[str]]:
    """The same from the config file alone, where OpenSSH is not installed."""
    path = Path(config or "~/.ssh/config").expanduser()
    import paramiko  # noqa: PLC0415 (only where a cluster is reached)

    parsed = paramiko.SSHConfig.from_path(str(path)) if path.is_file() else paramiko.SSHConfig()
    looked_up: dict[str, Any] = dict(parsed.lookup(host))
    found = {name: as_list(name, value) for name, value in looked_up.items()}
    found.setdefault("userknownhostsfile", ["~/.ssh/known_hosts"])
    found.setdefault("identityfile", ["~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"])
    return found


def as_list(name: str, value: Any) -> list[str]:
    """The values of an option that paramiko read."""
    if isinstance(value, list):
        return [str(each) for each in value]
    return str(value).split() if name in LISTS else [str(value)]


def one(found: dict[str, list[str]], name: str, default: str) -> str:
    """The first value of an option."""
    return (found.get(name) or [default])[0]


def real(value: str) -> str | None:
    """An option that `none` switches off."""
    return None if value.lower() == "none" else value


def existing(paths: list[str], tokens: Mapping[str, str]) -> tuple[str, ...]:
    """The files among these paths."""
    found = (Path(expanded(path, tokens)).expanduser() for path in paths)
    return tuple(str(path) for path in found if path.is_file())
