"""An evaluation on the real cluster as its user sees it: states in Slurm's words, logs, kill, and a cluster that vanishes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.machine import Machine
from tests.cluster import SSH_PORT, SSHD, UNTIL_GO, as_user, fake_harness, jobs_of, ssh_config
from tests.flows.stack import free_port
from tests.waiting import PATIENCE, wait_for
from tests.wan_proxy import WanProxy

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("undisturbed")]

CONFIG = """
defaults: [{{execution: slurm}}, {{deployment: none}}, _self_]
execution:
  hostname: cluster
  ssh_config: {ssh_config}
  account: eval
  partition: gpu
  walltime: 600
  container_runtime: none
  output_dir: {shared}
  image_cache: {home}/results/.proctor-cache
  local_dir: {work}
  poll_interval: 0.5
target: {{api_endpoint: {{url: "{endpoint}", model_id: fake-model}}}}
evaluation:
  trust_unlisted: true
  env_vars: {{FAKE_SCRIPT: "lit:print('the harness speaks', flush=True); {script}"}}
  tasks: [{{name: fake.alpha, packages: [{package}]}}]
"""


class Cluster:
    """What a config of these tests says."""

    def __init__(self, machine: Machine, home: Path, shared: Path, endpoint: str) -> None:
        self.machine = machine
        self.values = {
            "ssh_config": SSHD / "ssh_config",
            "shared": shared,
            "home": home,
            "work": machine.work,
            "endpoint": endpoint,
            "package": fake_harness(home),
        }

    def start(self, *overrides: str, script: str = "pass", **values: object) -> str:
        """The id of an evaluation whose harness runs this Python."""
        path = self.machine.work / "slurm.yaml"
        path.write_text(self.text(script, **values))
        options = [word for each in overrides for word in ("-o", each)]
        done = self.machine.run("run", "--config", str(path), *options, "--detach")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def text(self, script: str, **values: object) -> str:
        return CONFIG.format(**{**self.values, **values}, script=script)

    def go(self, evaluation: str) -> None:
        """Let the harness end that waits for it."""
        (folder,) = Path(str(self.values["shared"])).glob(f"*-{evaluation}")
        as_user("touch", str(folder / "go"))

    def words(self, evaluation: str) -> str:
        """What `proctor status` says."""
        return self.machine.run("status", evaluation).stdout


@pytest.fixture
def cluster(machine: Machine, cluster_home: Path, shared: Path, endpoint: str) -> Cluster:
    return Cluster(machine, cluster_home, shared, endpoint)


@pytest.fixture
def full(cluster_home: Path) -> Iterator[None]:
    """The node n4 is taken."""
    taken = ("--exclusive", "--nodelist=n4", "--output=/dev/null", "--wrap", "sleep 600")
    submitted = as_user("sbatch", "--parsable", *taken)
    try:
        wait_for(lambda: as_user("squeue", "-h", "-j", submitted.strip(), "-o", "%T").strip() == "RUNNING")
        yield
    finally:
        as_user("scancel", submitted.strip())


def living(evaluation: str) -> str:
    names = as_user("squeue", "-h", "-o", "%j %i").splitlines()
    return "\n".join(line for line in names if line.startswith(f"proctor-{evaluation}-"))


def test_status_says_why_a_job_waits_and_kill_ends_it(cluster: Cluster, full: None) -> None:
    evaluation = cluster.start("++execution.sbatch_extra_flags={nodelist: n4}")
    told = r"pending: (Resources|Priority), \d(st|nd|rd|th) of \d+, estimated start \d\d:\d\d"
    wait_for(lambda: re.search(told, cluster.words(evaluation)))
    assert living(evaluation)
    assert cluster.machine.run("kill", evaluation).returncode == 0
    wait_for(lambda: not living(evaluation), 30)


def test_status_names_the_node_and_logs_follow_the_benchmark(cluster: Cluster) -> None:
    evaluation = cluster.start(script=UNTIL_GO)
    words = wait_for(lambda: found if "running" in (found := cluster.words(evaluation)) else "")
    assert re.search(r"\bn[1-4]\b", words), words
    follower = cluster.machine.start("logs", f"{evaluation}.alpha", "--follow")
    assert follower.stdout
    assert any("the harness speaks" in line for line in follower.stdout)
    cluster.go(evaluation)
    follower.communicate(timeout=PATIENCE)
    assert follower.returncode == 0
    assert cluster.machine.run("status", evaluation, "--watch").returncode == 0


SERVED = """
deployment: {{type: generic, command: "sh -c 'until [ -e {shared}/loaded ]; do sleep 0.2; done; exec fake-server \\"$2\\"' serve --port {port}", port: {port}, served_model_name: fake-model, packages: [{package}]}}
"""


def test_status_tells_of_the_server_and_of_what_the_benchmarks_have_done(cluster: Cluster) -> None:
    script = f"(out / 'progress').write_text('412'); out.name != 'b.1' or {UNTIL_GO}"
    path = cluster.machine.work / "served.yaml"
    text = cluster.text("pass").partition("target:")[0].replace("deployment: none", "deployment: generic")
    tasks = [{"name": f"fake.{name}", "packages": [str(cluster.values["package"])]} for name in ("a", "b", "c")]
    rest = {"trust_unlisted": True, "env_vars": {"FAKE_SCRIPT": f"lit:{script}"}, "tasks": tasks}
    path.write_text(f"{text}{SERVED.format(**cluster.values, port=free_port())}evaluation: {json.dumps(rest)}\n")
    done = cluster.machine.run("run", "--config", str(path), "--detach")
    assert done.returncode == 0, done.stderr
    evaluation = done.stdout.strip()
    wait_for(lambda: re.search(r"running on n[1-4], server loading \d+ s", cluster.words(evaluation)))
    as_user("touch", f"{cluster.values['shared']}/loaded")
    wait_for(lambda: re.search(r"running on n[1-4], benchmark 2 of 3", cluster.words(evaluation)))
    wait_for(lambda: re.search(r"(?m)^fake\.b +RUNNING .* 412 ", cluster.words(evaluation)))
    cluster.go(evaluation)
    assert cluster.machine.run("status", evaluation, "--watch").returncode == 0


@pytest.mark.parametrize("when", ["before anything is submitted", "while the job runs"])
def test_a_cluster_that_vanishes_for_good_ends_unavailable_and_resume_goes_on(
    cluster: Cluster, tmp_path: Path, when: str
) -> None:
    with WanProxy(SSH_PORT) as proxy:
        proxy.refuse = when.startswith("before")
        evaluation = cluster.start(
            "execution.patience=8", script="time.sleep(20)", ssh_config=ssh_config(tmp_path, proxy.port)
        )
        known = {wait_for(lambda: living(evaluation))} if when.startswith("while") else set()
        proxy.refuse = True
        proxy.cut()
        said = cluster.machine.run("status", evaluation, "--watch")
        assert said.returncode == 1
        assert f"`proctor resume {evaluation}`" in said.stdout + said.stderr
        proxy.refuse = False
        resumed = cluster.machine.run("resume", evaluation)
        assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    mine = jobs_of(evaluation)
    assert len(mine) == 1
    assert known <= set(mine)
