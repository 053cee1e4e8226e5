"""The test cluster that scripts/start-slurm and scripts/start-sshd bring up, as tests use it."""

import fcntl
import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

import pytest

from proctor.configs.execution_schema import SlurmExecution
from tests.conftest import unavailable
from tests.waiting import wait_for

STATE = Path(os.environ.get("PROCTOR_TEST_STATE", "/var/lib/proctor-test"))
SSHD = STATE / "sshd"
SLURM = STATE / "slurm"
USER = "proctor"
SSH_PORT = 2222
SCRIPTS = Path(__file__).parent.parent / "scripts"
LOCK = "/tmp/proctor-test-services"
"""What the scripts hold while they start services."""
HELD: list[IO[str]] = []
WHOLE = "/tmp/proctor-test-cluster"
"""What tests of other sessions share while they use the cluster, and one has alone that takes a daemon of it away."""


@cache
def why_not() -> str:
    """Why there is no cluster here; empty when there is one."""
    if os.geteuid() != 0:
        return "the test cluster needs root"
    for script in ("start-slurm", "start-sshd"):
        done = subprocess.run([SCRIPTS / script], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            return f"scripts/{script} failed: {done.stderr.strip()[-300:]}"
    return ""


def hold() -> None:
    """Keep sessions beside this one from starting again what a test takes away; until `start_again`."""
    if not HELD:
        held = Path(LOCK).open("a")  # noqa: SIM115 (it is the lock)
        fcntl.flock(held, fcntl.LOCK_EX)
        HELD.append(held)


def start_again() -> None:
    """Bring up whatever a test has taken away."""
    while HELD:
        HELD.pop().close()
    for script in ("start-slurm", "start-sshd"):
        done = subprocess.run([SCRIPTS / script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"scripts/{script}: {done.stderr[-1000:]}"


@pytest.fixture(scope="session")
def cluster_home() -> Path:
    """The home of the cluster's user; skips the test where no cluster can run."""
    if reason := why_not():
        unavailable(reason)
    return Path(f"~{USER}").expanduser()


@contextmanager
def whole(how: int) -> Iterator[None]:
    """Keep the lock of the whole cluster; who waits for it alone is not overtaken by those that share it."""
    with Path(f"{WHOLE}.next").open("a") as gate, Path(WHOLE).open("a") as lock:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(lock, how)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


@pytest.fixture
def alone(cluster_home: Path) -> Iterator[None]:
    """Nobody else uses the cluster: for a test that takes a daemon away."""
    with whole(fcntl.LOCK_EX):
        yield


@pytest.fixture
def undisturbed(cluster_home: Path) -> Iterator[None]:
    """All daemons stay: for tests of other areas than that of the cluster."""
    with whole(fcntl.LOCK_SH):
        yield


@pytest.fixture
def shared(cluster_home: Path) -> Iterator[Path]:
    """A folder of this test on the cluster's shared file system."""
    folder = cluster_home / "tests" / uuid.uuid4().hex[:8]
    as_user("mkdir", "-p", str(folder))
    yield folder
    subprocess.run(["rm", "-rf", folder], check=False)


def fake_harness(home: Path) -> Path:
    """The fake harness in a folder of the cluster, as it is now."""
    place = home / "fake_harness"
    source = Path(__file__).parent / "fake_harness"
    files = sorted(source.glob("*.*"))
    if not all(
        (place / file.name).exists() and (place / file.name).read_bytes() == file.read_bytes() for file in files
    ):
        subprocess.run(["rm", "-rf", str(place)], check=True)
        as_user("mkdir", str(place))
        subprocess.run(["install", "-o", USER, "-m", "644", *map(str, files), str(place)], check=True)
    return place


BUSY = ("Unable to contact", "timed out", "Zero Bytes", "onnection refused")
"""What questions to Slurm say where its controller is too busy to answer."""


def as_user(*argv: str) -> str:
    """Run a command on the cluster as its user, without SSH; a question again that Slurm was too busy to answer."""

    def done() -> list[subprocess.CompletedProcess[str]]:
        found = subprocess.run(["runuser", "-u", USER, "--", *argv], capture_output=True, text=True, check=False)
        asks = argv[0] in {"squeue", "sinfo", "sacct"} or argv[:2] == ("scontrol", "show")
        return [] if asks and found.returncode and any(each in found.stderr for each in BUSY) else [found]

    (found,) = wait_for(done, pause=1)
    assert found.returncode == 0, found.stderr
    return found.stdout


def jobs_of(evaluation: str) -> list[str]:
    """Name and id of every Slurm job of an evaluation; an ended one is in the queue for a minute, and then in the books."""
    queue = as_user("squeue", "-h", "-t", "all", "-o", "%j %i").splitlines()
    books = as_user("sacct", "-n", "-X", "-P", "-S", "now-1hour", "-o", "JobName,JobID").replace("|", " ").splitlines()
    return [line for line in dict.fromkeys([*books, *queue]) if line.startswith(f"proctor-{evaluation}-")]


UNTIL_GO = "[time.sleep(0.2) for _ in range(3000) if not (out.parent / 'go').exists()]"
"""What a harness does that ends when the test has seen what it looks for, and says so with this file."""

PREEMPTIBLE: dict[str, Any] = {"qos": "low", "exclusive": True, "sbatch_extra_flags": {"nodelist": "n3"}}
"""What a section says whose jobs `preempt` ends. They have a node to themselves, so that other tests go on beside them."""


def preempt() -> None:
    """Let a job of a better quality of service take that node."""
    as_user("sbatch", "--qos=high", "--exclusive", "--nodelist=n3", "--output=/dev/null", "--wrap", "sleep 1")


def execution(**changes: object) -> SlurmExecution:
    """A section for the test cluster."""
    values: dict[str, object] = {
        "hostname": "cluster",
        "ssh_config": str(SSHD / "ssh_config"),
        "account": "eval",
        "partition": "gpu",
        "container_runtime": "none",
        "walltime": 600,
        "endpoint_readiness_timeout": 30,
        "output_dir": f"/home/{USER}/results",
    }
    return SlurmExecution.model_validate(values | changes)


def ssh_config(folder: Path, port: int, **options: str) -> str:
    """An SSH config file whose host `cluster` is at another port."""
    known = folder / "known_hosts"
    key = (SSHD / "host_key.pub").read_text().split()
    known.write_text(f"[127.0.0.1]:{port} {key[0]} {key[1]}\n")
    values = {
        "HostName": "127.0.0.1",
        "Port": str(port),
        "User": USER,
        "IdentityFile": str(SSHD / "client_key"),
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": str(known),
        **options,
    }
    path = folder / "ssh_config"
    path.write_text("Host cluster\n" + "".join(f"  {name} {value}\n" for name, value in values.items()))
    return str(path)
