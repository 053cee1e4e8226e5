"""`proctor doctor`: what would go wrong, found before anything is started."""

import json
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from proctor.blocks.docker.doctor import examine as examine_docker
from proctor.blocks.endpoint_check import check_endpoint
from proctor.blocks.folders_check import check_folders
from proctor.blocks.job import Container, JobSpec, Step
from proctor.blocks.process.doctor import examine as examine_process
from proctor.blocks.slurm.doctor import examine as examine_slurm
from proctor.configs.execution_schema import LocalExecution, ProcessExecution
from tests import cluster
from tests.cli.machine import Machine
from tests.engine import engine, fake_harness_image
from tests.fake_harness.fake_harness import Handler
from tests.flows.stack import free_port


class Strict(Handler):
    """An endpoint as servers are: it knows one key, one model, one route."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers.get("Authorization") != "Bearer good":
            return self.refuse(401, {"error": {"message": "invalid key"}})
        if asked["model"] not in {"fake-model", "alias"}:
            return self.refuse(404, {"error": {"message": f"model {asked['model']} does not exist"}})
        if "embed" in self.path:
            return self.answer({"data": [{"embedding": [0.0]}]})
        return self.answer({"model": self.model, "choices": [{"text": "A", "logprobs": None}]})

    def refuse(self, status: int, body: Any) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@pytest.fixture(scope="module")
def strict() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Strict)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


def job(image: str = "", packages: tuple[str, ...] = ()) -> JobSpec:
    step = Step("a.0", "fake.a", Container(image or None, packages), "{}", "http://127.0.0.1:9/v1/chat/completions")
    return JobSpec("proctor-00000000-abcdef-0-1", "00000000", "/tmp/out", (step,))


@pytest.mark.parametrize(
    ("request_of", "level", "words", "do"),
    [
        (("fake-model", "chat", "good"), "ok", "answers as fake-model (chat)", ""),
        (("fake-model", "vlm", "good"), "ok", "answers as fake-model (vlm)", ""),
        (("fake-model", "chat", "bad"), "problem", "answers 401 for model fake-model: invalid key", "api_key_name"),
        (("other", "chat", "good"), "problem", "answers 404 for model other: model other does not exist", "model_id"),
        (("alias", "chat", "good"), "warning", "was asked for alias and answers as fake-model", "model_id"),
        (("fake-model", "completions_logprob", "good"), "problem", "gives no log probabilities", "logprobs"),
        (("fake-model", "embedding", "good"), "problem", "is none of embedding", "endpoint_type"),
    ],
)
def test_one_real_question_to_the_endpoint(
    strict: str, request_of: tuple[str, str, str], level: str, words: str, do: str
) -> None:
    found = check_endpoint(f"{strict}/chat/completions", *request_of)
    assert (found.level, words in found.what, do in found.do) == (level, True, True), found


def test_an_endpoint_that_is_not_there() -> None:
    found = check_endpoint(f"http://127.0.0.1:{free_port()}/v1/chat/completions", "m", "chat", None)
    assert found.level == "problem"
    assert "nothing answers at" in found.what


def test_folders(tmp_path: Path) -> None:
    fine = list(check_folders(str(tmp_path / "not" / "yet"), [str(tmp_path)]))
    assert {each.level for each in fine} <= {"ok", "warning"}
    missing = [each.what for each in check_folders(str(tmp_path), ["/no/such"]) if each.level == "problem"]
    assert missing == ["the mounted folder /no/such does not exist"]
    assert not (tmp_path / "not").exists(), "looking makes nothing"


def test_processes(tmp_path: Path) -> None:
    section = ProcessExecution(cache_dir=str(tmp_path), output_dir=str(tmp_path), python="/no/python")
    found = [each.what for each in examine_process(section, [job("image:1"), job(packages=("/no/lock.txt",))])]
    assert "execution.python: there is no Python /no/python here" in found
    assert "fake.a has no packages, so it runs only in its container" in found
    assert "fake.a: /no/lock.txt does not exist" in found


@pytest.mark.live
def test_docker(tmp_path: Path) -> None:
    engine()
    section = LocalExecution(output_dir=str(tmp_path), gpus="all")
    found = list(examine_docker(section, [job(fake_harness_image()), job("127.0.0.1:1/none:1")]))
    assert any(each.level == "ok" and "is here" in each.what for each in found)
    bad = {each.what.split(":")[0]: each.do for each in found if each.level == "problem"}
    assert "nvidia-container-toolkit" in bad["GPUs are asked for, but the engine has no NVIDIA runtime"]
    assert "image 127.0.0.1" in bad


def test_an_engine_that_is_not_there(tmp_path: Path) -> None:
    (found,) = examine_docker(LocalExecution(docker_host=f"unix://{tmp_path}/none.sock"), [])
    assert found.level == "problem"
    assert "systemctl start docker" in found.do


@pytest.mark.live
@pytest.mark.usefixtures("undisturbed")
def test_slurm_says_what_can_never_start(cluster_home: Path) -> None:
    section = cluster.execution(
        account="evall", walltime=86400, container_mounts=["/no/such:/data"], output_dir="/root/results"
    )
    found = [each.what for each in examine_slurm(section, [job()]) if each.level == "problem"]
    assert "execution.output_dir: you may not write into /root" in found
    assert "the cluster has no /no/such" in found
    assert "execution.walltime: 1-00:00:00 is longer than partition gpu allows (4:00:00)" in found
    assert "you have no account evall" in found
    section = cluster.execution(partition="gpux")
    found = [each.what for each in examine_slurm(section, [job()]) if each.level == "problem"]
    assert found[0] == "there is no partition gpux"
    assert "can never start" in found[1]
    assert not [each for each in examine_slurm(cluster.execution(), [job()]) if each.level != "ok"]


@pytest.mark.live
@pytest.mark.usefixtures("undisturbed")
def test_a_key_that_others_may_read(cluster_home: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes((cluster.SSHD / "client_key").read_bytes())
    key.chmod(0o644)
    found = next(iter(examine_slurm(cluster.execution(ssh_key_path=str(key)), [])))
    assert (found.level, found.do) == ("problem", f"chmod 600 {key}")


@pytest.mark.live
@pytest.mark.usefixtures("undisturbed")
def test_the_host_key_of_a_cluster_is_checked_first(cluster_home: Path, tmp_path: Path) -> None:
    config = cluster.ssh_config(tmp_path, cluster.SSH_PORT, UserKnownHostsFile=str(tmp_path / "nothing"))
    *_, last = examine_slurm(cluster.execution(ssh_config=config), [])
    assert last.level == "problem"
    assert "its host key is not known" in last.what
    assert "compare the fingerprint" in last.do


CONFIG = """
defaults: [{{execution: simulated}}, {{deployment: none}}, _self_]
execution: {{output_dir: {output}}}
target: {{api_endpoint: {{url: "http://127.0.0.1:9/v1/chat/completions", model_id: tiny}}}}
evaluation: {{env_vars: {{TOKEN: "host:NOT_SET"}}, tasks: [{{name: mmath_en}}]}}
export: {{destinations: [local, gsheets]}}
"""


@pytest.mark.slow
def test_the_command_tells_everything_and_starts_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home", tmp_path)
    done = machine.run("doctor", machine.config(CONFIG), "--json")
    assert done.returncode == 1
    found = {each["what"]: each for each in json.loads(done.stdout)}
    assert found["the environment variable NOT_SET is not set"]["level"] == "problem"
    assert found["no spreadsheet is named"]["level"] == "warning"
    assert any("nothing answers at http://127.0.0.1:9" in each for each in found)
    assert not (tmp_path / "home" / "server.json").exists()
    lines = machine.run("doctor", machine.config(CONFIG)).stdout
    assert "PROBLEM  the environment variable NOT_SET is not set\n         -> export NOT_SET=" in lines


@pytest.mark.slow
def test_a_login_in_an_address_is_told_without_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home", tmp_path)
    address = "export.mlflow.tracking_uri=http://team:canary@127.0.0.1:1"
    done = machine.run("doctor", machine.config(CONFIG), "-o", address)
    assert "export.mlflow.tracking_uri holds a login, which Prefect stores with the evaluation" in done.stdout
    assert "canary" not in done.stdout


def test_a_mistake_in_the_config_is_a_finding(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home", tmp_path)
    done = machine.run("doctor", machine.config(CONFIG.replace("model_id", "model_ID")))
    assert done.returncode == 1
    assert "did you mean 'target.api_endpoint.model_id'?" in done.stdout


def test_run_refuses_what_cannot_work(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home", tmp_path)
    text = CONFIG.replace("simulated", "local").replace("{{output_dir", "{{mounts: ['/no/such:/data'], output_dir")
    done = machine.run("run", "--config", machine.config(text), NOT_SET="x")
    assert done.returncode == 2
    assert "the mounted folder /no/such does not exist; correct the mount" in done.stderr
    assert not (tmp_path / "home" / "server.json").exists()
