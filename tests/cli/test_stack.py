"""`proctor up` and `down`: this machine's stack."""

import json
import os
import resource
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from proctor.blocks.process.block import INHERITED
from proctor.cli import services, stack, workers
from proctor.cli.address import Address, configured
from proctor.cli.api import PrefectApi
from proctor.cli.home import Record, write_record
from proctor.cli.inheritance import inherited
from proctor.cli.stack import flat
from tests.cli.machine import Machine
from tests.flows.stack import free_port
from tests.waiting import wait_for


@pytest.mark.live
def test_two_at_once_bring_up_one_stack(machine: Machine) -> None:
    assert machine.first[0].stdout == machine.first[1].stdout
    assert f"export PREFECT_API_URL={machine.api_url}" in machine.first[0].stdout
    started = [done for done in machine.first if "starting the Prefect server" in done.stderr]
    assert len(started) == 1
    assert workers.online(PrefectApi(Address(machine.api_url, "test"))) == 1


@pytest.fixture
def two_homes(tmp_path: Path) -> Iterator[list[Machine]]:
    """Two homes of one machine whose stacks, long ended, had the same port."""
    machines = [Machine(tmp_path / name / "proctor", tmp_path / name) for name in ("first", "second")]
    last = Record(pid=2**22 + 1, created=0.0, url=f"http://127.0.0.1:{free_port()}/api", version="")
    for machine in machines:
        machine.home.mkdir(parents=True)
        (machine.home / "server.json").write_text(json.dumps(asdict(last)))
    yield machines
    for machine in machines:
        machine.run("down")


@pytest.mark.live
def test_two_homes_that_want_one_port_get_a_server_each(two_homes: list[Machine]) -> None:
    wanted = two_homes[0].api_url
    for process in [machine.start("up") for machine in two_homes]:
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
    urls = [machine.api_url for machine in two_homes]
    assert wanted in urls
    assert len(set(urls)) == 2
    evaluations = [machine.detached("execution.step_seconds=0.2") for machine in two_homes]
    for machine, evaluation in zip(two_homes, evaluations, strict=True):
        assert [each["id"] for each in machine.json("ls", "runs")] == [evaluation]
        assert machine.run("status", evaluation, "--watch").returncode == 0


@pytest.mark.live
def test_a_port_that_another_home_has_now_is_not_asked(machine: Machine, tmp_path: Path) -> None:
    other = Machine(tmp_path / "home", tmp_path)
    other.home.mkdir()
    (other.home / "server.json").write_text(json.dumps(asdict(Record(2**22 + 1, 0.0, machine.api_url, ""))))
    asked = other.run("ls", "runs")
    assert (asked.returncode, asked.stdout) == (1, "")
    assert asked.stderr == "proctor: the Prefect server of this machine does not run; `proctor up` starts it\n"


def cpu_of_children() -> float:
    """Seconds of CPU that the commands of this test have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.live
def test_up_again_starts_nothing_and_is_quick(machine: Machine) -> None:
    before, begun = machine.pids(), cpu_of_children()
    done = machine.run("up")
    assert cpu_of_children() - begun < 1, "it does not even import Prefect"
    assert done.returncode == 0
    assert done.stderr == ""
    assert machine.pids() == before


@pytest.mark.live
def test_what_it_keeps_is_for_its_user_alone(machine: Machine) -> None:
    open_to_others = [path for path in machine.home.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
    assert machine.home.stat().st_mode & 0o077 == 0
    assert not [path for path in open_to_others if path.suffix in {".log", ".db"}]


@pytest.mark.live
def test_the_server_keeps_to_itself(machine: Machine) -> None:
    server = psutil.Process(machine.pids()["server"])
    listening = {each.laddr.ip for each in server.net_connections("inet") if each.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    with sqlite3.connect(machine.home / "prefect" / "prefect.db") as database:
        assert database.execute("select count(*) from deployment").fetchone()[0] > 2


def knows(machine: Machine, name: str, secret: str) -> bool:
    """Whether a process of the stack, or one that it started, has a value in its environment."""
    process, found = psutil.Process(machine.pids()[name]), list[str]()
    for each in [process, *process.children(recursive=True)]:
        with suppress(psutil.Error):  # a child may end meanwhile
            found += each.environ().values()
    return secret in found


@pytest.mark.live
def test_it_knows_nothing_of_the_shell_but_what_is_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home", tmp_path)
    try:
        done = machine.run("up", SHELL_SECRET="canary-7d11")
        assert done.returncode == 0, done.stderr
        assert not knows(machine, "server", "canary-7d11")
        assert not knows(machine, "worker", "canary-7d11")
        before = machine.pids()
        named = machine.run("up", "--env", "NAMED", NAMED="canary-88ab", SHELL_SECRET="canary-7d11")
        assert named.returncode == 0, named.stderr
        assert machine.pids()["server"] == before["server"]
        assert knows(machine, "worker", "canary-88ab")
        assert not knows(machine, "server", "canary-88ab")
        assert not knows(machine, "worker", "canary-7d11")
    finally:
        machine.run("down")


def test_a_variable_that_is_not_set_cannot_be_named(tmp_path: Path) -> None:
    done = Machine(tmp_path / "home", tmp_path).run("up", "--env", "NOT_SET_ANYWHERE")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "proctor: --env NOT_SET_ANYWHERE: this variable is not set in this shell\n"


def test_what_a_step_sees_of_the_machine_reaches_the_worker() -> None:
    assert inherited(dict.fromkeys(INHERITED, "x")).keys() == set(INHERITED)
    assert inherited({"HF_TOKEN": "x", "PREFECT_API_KEY": "x", "AWS_SECRET_ACCESS_KEY": "x"}) == {}


@pytest.mark.live
def test_a_failed_start_shows_the_end_of_the_log(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home", tmp_path)
    machine.home.mkdir()
    (machine.home / "prefect").write_text("in the way")
    done = machine.run("up")
    assert done.returncode == 1
    assert "proctor: the Prefect server did not start; the end of " in done.stderr
    assert "prefect" in done.stderr.splitlines()[-1].lower() or "Error" in done.stderr


@pytest.mark.live
def test_jobs_outlive_the_stack(machine: Machine) -> None:
    evaluation = machine.detached("execution.step_seconds=15")
    wait_for(lambda: machine.json("status", evaluation)["progress"][0]["state"] == "RUNNING", pause=1)
    pids = machine.pids()
    done = machine.run("down")
    assert "ended: worker and server" in done.stdout
    assert "go on" in done.stdout
    assert not any(psutil.pid_exists(pid) for pid in pids.values())
    away = machine.run("status", evaluation)
    assert away.returncode == 1
    assert "`proctor up` starts it" in away.stderr
    url = machine.api_url
    assert machine.run("up").returncode == 0
    assert machine.api_url == url
    assert machine.run("status", evaluation, "--watch").returncode == 0


@pytest.mark.live
def test_an_own_server_is_used_and_nothing_is_started(machine: Machine, tmp_path: Path) -> None:
    other = Machine(tmp_path / "home", tmp_path)
    done = other.run("up", PREFECT_API_URL=machine.api_url)
    assert done.returncode == 0, done.stderr
    assert "nothing is started here" in done.stdout
    assert not (other.home / "server.json").exists()
    gone = other.run("up", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert gone.returncode == 1
    assert "no Prefect server answers at http://127.0.0.1:9/api (from PREFECT_API_URL)" in gone.stderr


@pytest.mark.live
def test_it_says_when_no_worker_is_there(machine: Machine) -> None:
    api = PrefectApi(Address(machine.api_url, "test"))
    assert workers.nobody(api) == ""
    (worker,) = workers.workers(api)
    pid = machine.pids()["worker"]
    os.kill(pid, signal.SIGSTOP)  # or it reports again meanwhile
    try:
        api.request("DELETE", f"/work_pools/proctor/workers/{worker['name']}")
        assert workers.nobody(api).endswith("proctor worker")
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.live
def test_the_worker_runs_so_many_at_a_time(machine: Machine) -> None:
    def said() -> list[str]:
        return psutil.Process(machine.pids()["worker"]).cmdline()[-2:]

    assert said() == ["--limit", "20"]
    server = machine.pids()["server"]
    assert machine.run("up", "--limit", "1").returncode == 0
    assert said() == ["--limit", "1"]
    assert machine.pids()["server"] == server
    first = machine.detached("execution.step_seconds=4")
    second = machine.detached("execution.step_seconds=0.2")
    assert machine.run("status", first, "--watch").returncode == 0
    assert machine.run("status", second, "--watch").returncode == 0
    ended, begun = machine.json("info", first)["ended"], machine.json("info", second)["started"]
    assert begun >= ended, "the second waited for the first"
    assert machine.run("up", "--limit", "20").returncode == 0
    assert said() == ["--limit", "20"]


def test_a_record_of_another_process_is_stale() -> None:
    created = psutil.Process().create_time()
    assert services.alive(Record(os.getpid(), created, "", ""))
    assert not services.alive(Record(os.getpid(), created - 60, "", ""))
    assert not services.alive(None)


def test_settings_become_variables() -> None:
    settings = {"server": {"analytics": {"enabled": False}}, "client": {"max_retries": 10}}
    assert dict(flat("PREFECT", settings)) == {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLIENT_MAX_RETRIES": "10",
    }


def test_the_server_is_found_by_prefects_rules(tmp_path: Path) -> None:
    profiles = 'active = "lab"\n[profiles.lab]\nPREFECT_API_URL = "http://lab/api"\nPREFECT_API_KEY = "k"\n'
    (tmp_path / "profiles.toml").write_text(profiles)
    environment = {"PREFECT_HOME": str(tmp_path)}
    folder = tmp_path / "project"
    folder.mkdir()
    lab = configured(environment, folder)
    assert lab == Address("http://lab/api", "the active Prefect profile", (("Authorization", "Bearer k"),))
    (folder / "prefect.toml").write_text('[api]\nurl = "http://project/api"\n')
    project = configured(environment, folder)
    assert project
    assert (project.url, project.source) == ("http://project/api", "prefect.toml")
    shell = configured({**environment, "PREFECT_API_URL": "http://shell/api/"}, folder)
    assert shell
    assert (shell.url, shell.source) == ("http://shell/api", "PREFECT_API_URL")
    assert configured({"PREFECT_HOME": str(folder)}, tmp_path) is None


def test_what_runs_evaluations_here_has_the_worker_s_variables_else_this_shell_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROCTOR_HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", "unix:///of-this-shell")
    with subprocess.Popen(["sleep", "60"], env={**os.environ, "DOCKER_HOST": "ssh://of-the-worker"}) as worker:
        wait_for(psutil.Process(worker.pid).environ)  # it has none while it begins
        write_record("worker", Record(worker.pid, psutil.Process(worker.pid).create_time(), "", ""))
        assert stack.workers_environment()["DOCKER_HOST"] == "ssh://of-the-worker"
        worker.kill()
    assert stack.workers_environment()["DOCKER_HOST"] == "unix:///of-this-shell"
