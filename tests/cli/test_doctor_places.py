"""`proctor doctor` about the places where jobs run: a cluster's keys, images and limits, disks, an engine's permission, Lepton."""

import json
import os
import shutil
import socketserver
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from proctor.blocks.docker.doctor import check_socket
from proctor.blocks.docker.doctor import examine as examine_docker
from proctor.blocks.finding import Finding
from proctor.blocks.folders_check import check_room
from proctor.blocks.job import Container, JobSpec, Mount, Server, Step
from proctor.blocks.process.doctor import examine as examine_process
from proctor.blocks.slurm.doctor import examine as examine_slurm
from proctor.blocks.slurm.doctor import findings
from proctor.blocks.slurm.image_check import image_finding, manifest_url
from proctor.blocks.slurm.login_check import check_keys
from proctor.configs.execution_schema import LocalExecution, ProcessExecution, SlurmExecution
from tests import cluster
from tests.cli.machine import Machine
from tests.conftest import unavailable
from tests.lepton.service import Service


def job(image: str = "example/a:1", *mounts: Mount) -> JobSpec:
    step = Step("a.0", "fake.a", Container(image, (), (), mounts), "{}", "http://127.0.0.1:9/v1/chat/completions")
    return JobSpec("proctor-00000000-abcdef-0-1", "00000000", "/tmp/out", (step,))


def problems(found: Iterator[Finding] | list[Finding]) -> dict[str, str]:
    """What is wrong, and what to do about it."""
    return {each.what: each.do for each in found if each.level == "problem"}


@pytest.fixture
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


def host(folder: Path, key: Path | None) -> SlurmExecution:
    """A cluster that nobody connects to here."""
    config = folder / "ssh_config"
    named = f"  IdentityFile {key}\n" if key else f"  IdentityFile {folder}/none\n"
    config.write_text(f"Host cluster\n  HostName 127.0.0.1\n{named}")
    return SlurmExecution(hostname="cluster", ssh_config=str(config))


def new_key(folder: Path, passphrase: str) -> Path:
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(key)], check=True)
    return key


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A real agent that holds nothing yet."""
    socket = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    while not socket.exists():
        assert process.poll() is None
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    yield
    process.terminate()
    process.wait()


@pytest.fixture
def openssh() -> None:
    if not shutil.which("ssh-keygen"):
        unavailable("there is no OpenSSH here")


@pytest.mark.live
@pytest.mark.usefixtures("openssh")
def test_no_key_at_all(tmp_path: Path, no_agent: None) -> None:
    found = problems(check_keys(host(tmp_path, None)))
    assert "ssh-add KEY" in found["there is no private key to log in with: no file, and no agent holds one"]
    assert not problems(check_keys(host(tmp_path, new_key(tmp_path, ""))))


@pytest.mark.live
@pytest.mark.usefixtures("openssh")
def test_a_key_with_a_passphrase_needs_an_agent(tmp_path: Path, agent: None) -> None:
    section = host(tmp_path, new_key(tmp_path, "secret"))
    (words,) = problems(check_keys(section))
    assert words == f"the private key {tmp_path}/key has a passphrase, and no agent holds it"
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "secret", "-N", "", "-f", tmp_path / "key"], check=True)
    subprocess.run(["ssh-add", "-q", tmp_path / "key"], check=True)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", tmp_path / "key"], check=True)
    assert [each.what for each in check_keys(section)] == ["the SSH agent holds 1 key"]


def test_an_agent_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    assert f"no SSH agent answers at {tmp_path}/gone" in [each.what for each in check_keys(host(tmp_path, None))]


FINE = [("slurm", 0, "slurm 23"), ("folder", 0, ""), ("runtime", 0, "")]


def test_limits_of_a_quality_of_service() -> None:
    section = SlurmExecution(hostname="cluster", qos="short", walltime=600, container_runtime="none")
    found = problems(findings([*FINE, ("qos", 0, "normal|;short|00:02:00;")], section, []))
    assert list(found) == ["execution.walltime: 00:10:00 is longer than qos short allows (00:02:00)"]


def test_a_cluster_without_accounting_names_no_account() -> None:
    trouble = "sacctmgr: error: slurmdbd is not there;You are not running a supported accounting_storage plugin;"
    section = SlurmExecution(hostname="cluster", account="eval", partition="gpu", qos="x", container_runtime="none")
    asked = [("accounts", 1, trouble), ("qos", 1, trouble), ("partitions", 1, "sinfo: not allowed now;")]
    assert not problems(findings([*FINE, *asked], section, []))


@pytest.mark.parametrize(
    ("image", "url"),
    [
        ("vllm/vllm-openai:v1", "https://registry-1.docker.io/v2/vllm/vllm-openai/manifests/v1"),
        ("haproxy", "https://registry-1.docker.io/v2/library/haproxy/manifests/latest"),
        ("nvcr.io/nvidia/a/b@sha256:ab", "https://nvcr.io/v2/nvidia/a/b/manifests/sha256:ab"),
        ("localhost:5000/a:1", "https://localhost:5000/v2/a/manifests/1"),
    ],
)
def test_where_a_registry_describes_an_image(image: str, url: str) -> None:
    assert manifest_url(image) == url


@pytest.mark.parametrize(
    ("code", "text", "level", "words"),
    [
        (0, "200", "ok", "can be had by the cluster"),
        (0, "401", "ok", "whether it lets you in shows when the job starts"),
        (0, "404", "problem", "the registry has no image"),
        (0, "here;", "ok", "is on the cluster"),
        (0, "no file;", "problem", "the cluster has no image"),
        (6, "curl: (6) Could not resolve host: x;000", "warning", "curl: (6) Could not resolve host: x"),
        (127, "sh: 1: curl: not found;", "warning", "has no curl"),
    ],
)
def test_what_a_registry_answers(code: int, text: str, level: str, words: str) -> None:
    found = image_finding("example/a:1", code, text)
    assert (found.level, words in found.what) == (level, True), found


@pytest.mark.live
@pytest.mark.usefixtures("undisturbed")
def test_what_a_job_needs_on_the_cluster(cluster_home: Path) -> None:
    box = Container("/images/none.sqsh", mounts=(Mount("/no/checkpoint", "/checkpoint"),))
    server = Server("generic", box, "serve", 8000, "m")
    wanted = replace(job("127.0.0.1:1/none:1", Mount("/no/dataset", "/datasets")), server=server)
    found = list(examine_slurm(cluster.execution(container_runtime="apptainer"), [wanted]))
    words = [each.what for each in found]
    assert {"the cluster has no /no/dataset", "the cluster has no /no/checkpoint"} <= set(words)
    assert "the cluster has no image /images/none.sqsh" in words
    assert any(each.startswith("the login node cannot reach the registry of 127.0.0.1:1/none:1") for each in words)


def test_a_full_disk(tmp_path: Path) -> None:
    found = check_room(Path("/proc"), "results")
    assert (found.level, found.do) == ("problem", "make room, or choose another folder")
    full = problems(examine_process(ProcessExecution(cache_dir=str(tmp_path), output_dir="/proc/out"), []))
    assert any("/proc" in each for each in full)


@pytest.mark.live
def test_a_machine_without_docker_is_told_so_before_anything_starts(tmp_path: Path) -> None:
    plain, path = {"DOCKER_CONFIG": str(tmp_path)}, str(tmp_path / "socket")
    (found,) = check_socket(LocalExecution(), plain, path)
    assert (found.level, found.what) == ("problem", f"no Docker engine answers on unix://{path}")
    with socketserver.UnixStreamServer(path, socketserver.BaseRequestHandler):
        assert not list(check_socket(LocalExecution(), plain, path))
    Path(path).unlink()
    assert not list(check_socket(LocalExecution(docker_host="tcp://there:2375"), plain, path))
    assert not list(check_socket(LocalExecution(), {**plain, "DOCKER_HOST": "ssh://there"}, path))


@pytest.mark.live
def test_a_user_whom_the_engine_refuses() -> None:
    if os.geteuid() != 0:
        unavailable("only root can become another user")
    list(examine_docker(LocalExecution(docker_host="unix:///nowhere.sock"), []))  # imports, as root
    os.seteuid(65534)
    try:
        (found,) = examine_docker(LocalExecution(docker_host="unix:///run/docker.sock"), [])
    finally:
        os.seteuid(0)
    assert found.level == "problem"
    assert "usermod -aG docker" in found.what + found.do


LEPTON = """
defaults: [{{execution: lepton}}, {{deployment: none}}, _self_]
execution: {{output_dir: {output}, resource_shape: SHAPE, node_group: h200-pool}}
target: {{api_endpoint: {{url: "http://127.0.0.2:9/v1/chat/completions", model_id: tiny}}}}
evaluation: {{tasks: [{{name: mmath_en}}]}}
"""


@pytest.mark.parametrize(
    ("shape", "token", "level", "words"),
    [
        ("cpu.small", "", "ok", "the workspace has the shape cpu.small"),
        ("cpu.smal", "", "problem", "cpu.smal"),
        ("cpu.small", "wrong", "problem", "token"),
    ],
)
@pytest.mark.slow
def test_lepton(tmp_path: Path, shape: str, token: str, level: str, words: str) -> None:
    machine = Machine(tmp_path / "home", tmp_path)
    config = machine.config(LEPTON.replace("SHAPE", shape))
    with Service(deletion=0.05) as service:
        login = {"LEPTON_WORKSPACE_ID": service.workspace, "LEPTON_WORKSPACE_URL": service.url}
        done = machine.run("doctor", config, "--json", **login, LEPTON_API_TOKEN=token or service.token)
    found = [each for each in json.loads(done.stdout) if each["level"] == level]
    assert any(words in each["what"] for each in found), done.stdout
    assert service.token not in done.stdout


SHARED = """
defaults: [{{execution: process}}, {{deployment: none}}, _self_]
execution: {{output_dir: {output}}}
target: {{api_endpoint: {{url: "http://127.0.0.1:9/v1/chat/completions", model_id: tiny}}}}
evaluation: {{env_vars: {{TOKEN: "host:NOT_SET"}}, tasks: [{{name: mmath_en}}]}}
"""


@pytest.mark.slow
def test_what_only_a_worker_on_another_machine_knows(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home", tmp_path)
    done = machine.run("doctor", machine.config(SHARED), "--json", PREFECT_API_URL="http://127.0.0.2:1/api")
    found = {each["what"]: each["level"] for each in json.loads(done.stdout)}
    told = "the worker is on another machine, and this shell cannot tell whether it knows NOT_SET"
    assert found[told] == "warning"
    assert "the environment variable NOT_SET is not set" not in found
    assert found["the worker is on another machine; what follows is about this one"] == "warning"
