"""The flags of `docker run` that a config may hold."""

import pytest

from proctor.blocks.docker.docker_args import parse
from proctor.blocks.job import EnvVar, Mount
from proctor.configs.errors import ConfigError


def test_the_flags_of_the_seed() -> None:
    found = parse(["--gpus=all", "--shm-size=16g"])
    assert found.gpus == "all"
    assert found.options == {"shm_size": "16g"}


def test_both_forms_and_both_writings() -> None:
    one = parse(["--memory=1g", "--cpus=1.5", "--network=host", "--ipc=host", "--env=A=b c", "--volume=/a:/b:ro"])
    two = parse(["-m", "1g", "--cpus 1.5", "--net", "host", "--ipc host", "-e", "A=b c", "-v", "/a:/b:ro"])
    assert one == two
    assert one.options == {"mem_limit": "1g", "nano_cpus": 1_500_000_000, "network": "host", "ipc_mode": "host"}
    assert one.env == (EnvVar("A", "lit", "b c"),)
    assert one.mounts == (Mount("/a", "/b", read_only=True),)


def test_repeated_flags_and_pairs() -> None:
    flags = [
        "--cap-add=SYS_PTRACE",
        "--cap-add=IPC_LOCK",
        "--add-host=a:1.2.3.4",
        "--label=x=y=z",
        "--ulimit=memlock=-1",
    ]
    found = parse(flags)
    assert found.options == {
        "cap_add": ["SYS_PTRACE", "IPC_LOCK"],
        "extra_hosts": {"a": "1.2.3.4"},
        "labels": {"x": "y=z"},
    }
    assert found.ulimits == (("memlock", -1, -1),)


def test_switches_and_further_options_of_a_volume() -> None:
    found = parse(["--privileged=true", "--init=false", "-v", "/a:/b:ro,z", "-v", "/c:/d:rw"])
    assert found.options == {"privileged": True}
    assert found.mounts == (Mount("/a", "/b", read_only=True), Mount("/c", "/d"))


def test_a_bare_name_is_a_variable_of_ours() -> None:
    assert parse(["-e", "HF_TOKEN"]).env == (EnvVar("HF_TOKEN", "host", "HF_TOKEN"),)


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--gpu=all", "did you mean --gpus"),
        ("--frobnicate", "unknown flag --frobnicate"),
        ("--rm", "Proctor's own"),
        ("--name=x", "Proctor's own"),
        ("--cpus=many", "invalid float value"),
        ("--ulimit=nofile", "NAME=SOFT"),
        ("--mount=type=volume,source=a,target=/b", "type=bind"),
        ("--memory=64Gi", "--memory '64Gi' does not fit; write a size such as 64g"),
        ("--shm-size=lots", "--shm-size 'lots' does not fit"),
        ("--gpus=device:0", "--gpus 'device:0' does not fit; write all, none, a number, or device=0,1"),
        ("--uts=x", "--uts 'x' does not fit; write host"),
        ("--user=me", "--user 'me' does not fit; write uid or uid:gid"),
    ],
)
def test_what_cannot_be_passed_on_is_refused_by_name(flag: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse([flag])
