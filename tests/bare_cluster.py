"""A second, small Slurm cluster with an sshd of its own: no accounting, no preemption, no cgroups (what uses too much memory
is killed by slurmstepd), and ended jobs are forgotten at once."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from proctor.configs.execution_schema import SlurmExecution
from tests.cluster import SSHD, USER, execution, ssh_config
from tests.waiting import PATIENCE

CONF = """
ClusterName=bare
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=slurm
AuthType=auth/munge
AuthInfo=cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
PropagateResourceLimits=NONE
ReturnToService=2
KillWait=5
MinJobAge=6
DependencyParameters=kill_invalid_depend
SchedulerParameters=sched_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
NodeName=b1 NodeHostname={host} NodeAddr=127.0.0.1 Port={nodes[0]} CPUs=8 CoresPerSocket=8 RealMemory=16000
NodeName=b2 NodeHostname={host} NodeAddr=127.0.0.1 Port={nodes[1]} CPUs=8 CoresPerSocket=8 RealMemory=16000
PartitionName=gpu Nodes=ALL Default=YES MaxTime=04:00:00 DefaultTime=00:10:00
"""


@dataclass
class BareCluster:
    """Where it is, and what its user may ask it."""

    folder: Path
    port: int
    controller: subprocess.Popen[bytes] | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """With a controller, until the block is left."""
        self.start_controller()
        try:
            yield
        finally:
            assert self.controller
            self.controller.terminate()
            self.controller.wait(60)

    def start_controller(self) -> None:
        """Start slurmctld."""
        self.controller = start(self.folder, "/usr/sbin/slurmctld", "-D", "-f", f"{self.folder}/slurm.conf")

    @contextmanager
    def controller_killed(self) -> Iterator[None]:
        """Without a controller until the block is left; what it has not written down by then, the next one does not know."""
        assert self.controller
        self.controller.kill()
        self.controller.wait()
        try:
            yield
        finally:
            self.start_controller()
            self.wait_for_nodes("idle", "mixed", "allocated", "draining", "drained")

    def wait_for_nodes(self, *states: str) -> None:
        """Wait until all nodes are in one of these states."""
        deadline = time.monotonic() + PATIENCE
        while not (found := self.as_user("sinfo", "-h", "-N", "-o", "%T").split()) or not set(found) <= set(states):
            assert time.monotonic() < deadline, (self.folder / "daemons.log").read_text()[-2000:]
            time.sleep(0.2)

    def as_user(self, *argv: str) -> str:
        """What a command says there."""
        command = ["runuser", "-u", USER, "--", "env", f"SLURM_CONF={self.folder}/slurm.conf", *argv]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout

    def changes(self) -> dict[str, Any]:
        """What a section for it says that one for the large cluster does not."""
        return {"ssh_config": ssh_config(self.folder, self.port), "account": None}

    def section(self, **changes: object) -> SlurmExecution:
        """A section for this cluster."""
        return execution(**self.changes(), **changes)

    def has_forgotten(self, job_id: str) -> bool:
        """Whether squeue does not know a job any more."""
        return not self.as_user("squeue", "-h", "-t", "all", "-j", job_id, "-o", "%i").strip()


def ports(number: int) -> list[int]:
    """So many ports that are free."""
    with ExitStack() as held:
        found = [held.enter_context(socket.socket()) for _ in range(number)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in found]


def write_configs(folder: Path) -> int:
    """The configs of its daemons; the value is the port of its sshd."""
    controller, *nodes, port = ports(4)
    host = socket.gethostname().partition(".")[0]
    (folder / "slurm.conf").write_text(CONF.format(folder=folder, controller=controller, nodes=nodes, host=host))
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    shutil.chown(folder / "state", "slurm", "slurm")
    sshd = (SSHD / "sshd_config").read_text().splitlines()
    own = [line for line in sshd if not line.startswith(("Port ", "PidFile "))]
    lines = [*own, f"Port {port}", "PidFile none", f"SetEnv SLURM_CONF={folder}/slurm.conf"]
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    return port


def start(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    """A daemon in the foreground."""
    with (folder / "daemons.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)


@contextmanager
def daemon(folder: Path, *command: str) -> Iterator[None]:
    """A daemon in the foreground, until the block is left."""
    process = start(folder, *command)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def bare_cluster() -> Iterator[BareCluster]:
    """The cluster, up until the block is left."""
    folder = Path(mkdtemp(prefix="proctor-bare-"))
    folder.chmod(0o755)
    conf = f"{folder}/slurm.conf"
    cluster = BareCluster(folder, write_configs(folder))
    with (
        cluster.running(),
        daemon(folder, "/usr/sbin/slurmd", "-D", "-N", "b1", "-f", conf),
        daemon(folder, "/usr/sbin/slurmd", "-D", "-N", "b2", "-f", conf),
        daemon(folder, "/usr/sbin/sshd", "-D", "-f", f"{folder}/sshd_config", "-E", f"{folder}/sshd.log"),
    ):
        cluster.wait_for_nodes("idle")
        yield cluster
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def bare(cluster_home: Path) -> Iterator[BareCluster]:
    """One cluster for all tests of a module."""
    assert cluster_home
    with bare_cluster() as cluster:
        yield cluster
