"""What a person is shown of a job on Docker, and what the engine is asked for."""

import shlex

import pytest

from proctor.blocks.docker.render import render
from proctor.blocks.docker.request import ContainerRequest, server_request, step_request
from proctor.blocks.job import Container, EnvVar, JobSpec, Mount, Server, Step
from proctor.configs.execution_schema import LocalExecution

IMAGE = "nvcr.example/evals@sha256:" + "a" * 64
ENV = (EnvVar("TOKEN", "host", "CANARY"), EnvVar("MODE", "lit", "it's on"))


def job(*, url: str = "http://localhost:8000/v1/chat/completions", server: bool = False) -> JobSpec:
    container = Container(IMAGE, env=ENV, mounts=(Mount("/data", "/datasets", read_only=True),))
    steps = tuple(Step(name, f"fake.{name}", container, f"config: {name}", url) for name in ("a.0", "b.1"))
    served = Server("vllm", Container("vllm:1"), "vllm serve m --port 8000", 8000, "m") if server else None
    return JobSpec("proctor-0a-1-0-1", "0a", "/out put", steps, served, labels={"proctor.benchmarks": "2"})


def step(execution: LocalExecution, spec: JobSpec | None = None) -> ContainerRequest:
    spec = spec or job()
    return step_request(spec, spec.steps[0], execution, "1000:1000")


def commands(text: str) -> list[list[str]]:
    return [shlex.split(line) for line in text.splitlines() if line.startswith("docker run")]


def test_the_text_can_be_pasted_into_a_shell() -> None:
    first, second = commands(render(job(), LocalExecution(memory_limit="64g", cpus=1.5, shm_size="16g", gpus="all")))
    assert first[-2:] == [IMAGE, "/results/.proctor/proctor-0a-1-0-1.sh"]
    assert {"--memory=64g", "--cpus=1.5", "--shm-size=16g", "--gpus=all", "--entrypoint=sh"} <= set(first)
    assert "/out put/a.0:/results" in first
    assert "/data:/datasets:ro" in first
    assert "/out put/b.1:/results" in second
    assert '--user="$(id -u):$(id -g)"' in render(job(), LocalExecution()), "the shell fills it in"


def test_variables_are_shown_by_name_and_the_run_config_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "canary-4711")
    text = render(job(server=True), LocalExecution(docker_args=["-e", "CANARY"]))
    assert "canary-4711" not in text
    assert "MODE=it's on" in commands(text)[1]
    assert "config: a.0" in text
    assert "config: b.1" in text


def test_every_flag_of_the_config_is_shown_as_it_was_written() -> None:
    flags = ["--cap-add=IPC_LOCK", "--add-host=a:1.2.3.4", "--tmpfs=/t:size=1m", "--privileged", "--ulimit=nofile=1:2"]
    (first, _) = commands(render(job(), LocalExecution(docker_args=[*flags, "--label=team=x", "--ipc=host"])))
    assert {*flags, "--label=team=x", "--ipc=host"} <= set(first)


def test_steps_live_in_the_network_of_their_server_and_leave_its_settings_to_it() -> None:
    execution = LocalExecution(docker_args=["--add-host=a:1.2.3.4", "--dns=1.1.1.1", "--hostname=h", "--shm-size=1g"])
    spec = job(server=True)
    asked, server = step(execution, spec), server_request(spec, execution)
    assert server
    assert asked.network == f"container:{server.name}"
    assert server.options["extra_hosts"] == {"a": "1.2.3.4"}
    assert asked.options == {"shm_size": "1g", "user": "1000:1000"}


@pytest.mark.parametrize(
    ("execution", "url", "network"),
    [
        ({}, "http://localhost:8000/v1/chat/completions", "host"),
        ({}, "http://127.0.0.1:8000/v1/completions", "host"),
        ({}, "http://[::1]:8000/v1/completions", "host"),
        ({}, "https://integrate.api.example/v1/chat/completions", "bridge"),
        ({"network": "evals"}, "http://localhost:8000/v1/chat/completions", "evals"),
        ({"docker_args": ["--net=none"]}, "http://localhost:8000/v1/chat/completions", "none"),
    ],
)
def test_the_network_follows_the_endpoint_unless_it_is_given(execution: dict[str, str], url: str, network: str) -> None:
    assert step(LocalExecution.model_validate(execution), job(url=url)).network == network


@pytest.mark.parametrize(
    ("execution", "user", "home"),
    [({}, "1000:1000", "/tmp"), ({"user": "0:0"}, "0:0", None), ({"docker_args": ["--user=7"]}, "7", "/tmp")],
)
def test_results_are_the_callers_unless_another_user_is_asked_for(
    execution: dict[str, str], user: str, home: str | None
) -> None:
    asked = step(LocalExecution.model_validate(execution))
    assert asked.options["user"] == user
    assert {each.name: each.value for each in asked.env}.get("HOME") == home


def test_the_configs_own_home_wins() -> None:
    asked = step(LocalExecution(docker_args=["-e", "HOME=/home/me"]))
    assert {each.name: each.value for each in asked.env}["HOME"] == "/home/me"


def test_the_sections_keys_come_before_its_flags() -> None:
    asked = step(LocalExecution(docker_args=["--memory=1g", "--gpus=1"], memory_limit="2g", gpus="device=0,1"))
    assert asked.options["mem_limit"] == "2g"
    assert asked.gpus == "device=0,1"


@pytest.mark.parametrize(("gpus", "asked"), [(None, "available"), ("none", "none"), (0, "0"), (2, "2")])
def test_a_server_gets_the_gpus_that_are_there_unless_others_or_none_are_asked_for(
    gpus: str | int | None, asked: str
) -> None:
    execution = LocalExecution.model_validate({"gpus": gpus})
    request = server_request(job(server=True), execution)
    assert request
    assert request.gpus == asked
    assert "--gpus=none" not in render(job(), execution)


def test_a_server_that_its_image_starts_by_itself_gets_no_command() -> None:
    spec = job(server=True)
    assert spec.server
    plain = Server("nim", Container("nim:1"), None, 8000, "m")
    asked = server_request(JobSpec(spec.name, spec.evaluation, spec.output_dir, spec.steps, plain), LocalExecution())
    assert asked
    assert (asked.entrypoint, asked.command) == (None, None)


def test_our_labels_cannot_be_overwritten() -> None:
    asked = step(LocalExecution(docker_args=["--label=proctor.job=x", "--label=team=y"]))
    assert asked.labels["proctor.job"] == "proctor-0a-1-0-1"
    assert asked.labels["team"] == "y"
