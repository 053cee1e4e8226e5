"""Can this user log in to the cluster at all? Looks at keys and agent of this machine; connects to nothing."""

import os
import shlex
import socket
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from proctor.blocks.finding import Finding, ok, problem, warning
from proctor.blocks.slurm.cluster import login
from proctor.blocks.slurm.ssh_config import Place, place
from proctor.configs.execution_schema import SlurmExecution


def check_keys(execution: SlurmExecution) -> Iterator[Finding]:
    """Keys that ssh would refuse, keys that nobody can open, and an agent that holds none."""
    if execution.ssh_control_path or not execution.hostname:
        return
    named = execution.ssh_key_path
    if named and not Path(named).expanduser().is_file():
        yield problem(f"execution.ssh_key_path: there is no file {named}", "correct it, or leave it to ~/.ssh/config")
        return
    where = place(login(execution))
    for key in where.keys:
        if stat.S_IMODE(Path(key).stat().st_mode) & 0o077:
            yield problem(f"others may read the private key {key}", f"chmod 600 {shlex.quote(key)}")
    yield from check_agent(where)


def check_agent(where: Place) -> Iterator[Finding]:
    """Whether a key is at hand: in a file without a passphrase, or in the agent."""
    locked = [key for key in where.keys if has_passphrase(key)]
    agent, held = os.environ.get("SSH_AUTH_SOCK"), agent_keys(where)
    if held:
        yield ok(f"the SSH agent holds {len(held)} key{'s' if len(held) > 1 else ''}")
    if held or len(locked) < len(where.keys):
        return
    if agent and not answers(agent):
        yield warning(f"no SSH agent answers at {agent}", "start one: eval $(ssh-agent)")
    if locked:
        advice = f"ssh-add {shlex.quote(locked[0])}"
        yield problem(f"the private key {locked[0]} has a passphrase, and no agent holds it", advice)
    else:
        yield problem(
            "there is no private key to log in with: no file, and no agent holds one",
            "name one in ~/.ssh/config or execution.ssh_key_path, or add one to the agent: ssh-add KEY",
        )


def has_passphrase(key: str) -> bool:
    """Whether a private key cannot be opened without asking somebody."""
    from paramiko import PasswordRequiredException, PKey, SSHException  # noqa: PLC0415 (only where a cluster is reached)

    try:
        PKey.from_path(key)
    except PasswordRequiredException:
        return True
    except TypeError as error:  # what cryptography says, for formats that paramiko leaves to it
        return "password" in str(error).lower()
    except (SSHException, ValueError, OSError):
        return False
    return False


def agent_keys(where: Place) -> Sequence[object]:
    """The keys that the agent would offer there; none when no agent answers."""
    from paramiko import Agent, SSHException  # noqa: PLC0415 (only where a cluster is reached)

    from proctor.blocks.slurm.ssh import agent_key  # noqa: PLC0415

    if where.only_keys:
        found = agent_key(where.keys)
        return (found,) if found else ()
    try:
        agent = Agent()
        offered = agent.get_keys()
        agent.close()
    except (SSHException, OSError):
        return ()
    return offered


def answers(place: str) -> bool:
    """Whether somebody listens at the socket of an agent."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(place)
        except OSError:
            return False
    return True
