"""SSH to a real sshd: configuration, host keys, reuse, and networks that fail."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proctor.blocks.errors import RejectedError, TransientError
from proctor.blocks.slurm.openssh import ControlSocket
from proctor.blocks.slurm.ssh import Connection
from proctor.blocks.slurm.ssh_config import Login, place
from proctor.configs.errors import ConfigError
from tests.cluster import SSH_PORT, SSHD, USER, ssh_config
from tests.wan_proxy import WanProxy

pytestmark = pytest.mark.live


@pytest.fixture(autouse=True)
def sshd(cluster_home: Path) -> None:
    """Every test here needs it."""


@pytest.fixture
def proxy() -> Iterator[WanProxy]:
    with WanProxy(SSH_PORT) as proxy:
        yield proxy


def login(**changes: str) -> Login:
    return Login(**{"hostname": "cluster", "config": str(SSHD / "ssh_config"), **changes})


def test_a_command_runs_as_the_configured_user() -> None:
    answer = Connection(login()).run("cat; id -un; echo oops >&2; exit 3", b"hello\n")
    assert (answer.code, answer.text, answer.err) == (3, f"hello\n{USER}\n", "oops\n")


def test_one_connection_serves_many_commands_fast() -> None:
    connection = Connection(login())
    connection.run("true")
    started = time.monotonic()
    for _ in range(20):
        connection.run("true")
    assert connection.opened == 1
    assert (time.monotonic() - started) / 20 < 0.03, "44 ms a command means that Nagle's algorithm is on"


def test_large_input_and_output_do_not_block_each_other() -> None:
    data = bytes(range(256)) * 20_000
    assert Connection(login()).run("cat", data).out == data


def test_jump_hosts_are_followed() -> None:
    connection = Connection(login(hostname="cluster-jump"))
    assert connection.run("echo $SSH_CONNECTION").text.startswith("127.0.0.1")
    assert len(connection.clients) == 2
    connection.close()


def test_a_proxy_command_is_used(tmp_path: Path) -> None:
    config = ssh_config(tmp_path, SSH_PORT, ProxyCommand=f"ssh -F {SSHD}/ssh_config -W 127.0.0.1:{SSH_PORT} cluster")
    assert Connection(login(config=config)).run("echo yes").text == "yes\n"


def test_includes_and_explicit_values_count(tmp_path: Path) -> None:
    (tmp_path / "outer").write_text(f"Include {SSHD}/ssh_config\n")
    where = place(login(config=str(tmp_path / "outer"), username="somebody", key=str(SSHD / "wrong_key")))
    assert (where.hostname, where.port, where.user) == ("127.0.0.1", SSH_PORT, "somebody")
    assert where.keys == (str(SSHD / "wrong_key"),)
    with pytest.raises(ConfigError, match="ssh_key_path"):
        place(login(key="/no/such/key"))


def test_an_unknown_host_is_refused_with_what_to_do(tmp_path: Path) -> None:
    config = ssh_config(tmp_path, SSH_PORT, UserKnownHostsFile=str(tmp_path / "nothing"))
    with pytest.raises(RejectedError, match=r"host key is not known.*ssh cluster"):
        Connection(login(config=config)).run("true")


def test_a_changed_host_key_is_refused_with_what_to_do(tmp_path: Path) -> None:
    config = ssh_config(tmp_path, SSH_PORT)
    wrong = (SSHD / "wrong_key.pub").read_text().split()
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{SSH_PORT} {wrong[0]} {wrong[1]}\n")
    with pytest.raises(RejectedError, match=r"another machine.*ssh-keygen -R"):
        Connection(login(config=config)).run("true")


def test_a_wrong_key_is_refused_with_what_to_do() -> None:
    with pytest.raises(RejectedError, match=r"refused.*ssh_control_path"):
        Connection(login(key=str(SSHD / "wrong_key"))).run("true")


def test_a_dead_port_is_worth_another_try(tmp_path: Path, proxy: WanProxy) -> None:
    proxy.refuse = True
    connection = Connection(login(config=ssh_config(tmp_path, proxy.port)))
    with pytest.raises(TransientError):
        connection.run("true")
    proxy.refuse = False
    assert connection.run("echo back").text == "back\n"


def test_a_lost_connection_is_opened_again(tmp_path: Path, proxy: WanProxy) -> None:
    connection = Connection(login(config=ssh_config(tmp_path, proxy.port)))
    connection.run("true")
    proxy.cut()
    answers = []
    for _ in range(3):
        try:
            answers.append(connection.run("echo again").text)
            break
        except TransientError:
            continue
    assert answers == ["again\n"]
    assert connection.opened == 2


def test_silence_ends_in_time(tmp_path: Path, proxy: WanProxy) -> None:
    connection = Connection(login(config=ssh_config(tmp_path, proxy.port)))
    connection.run("true")
    proxy.silent = True
    started = time.monotonic()
    with pytest.raises(TransientError, match="in time"):
        connection.run("true", timeout=1)
    assert time.monotonic() - started < 5
    proxy.silent = False
    assert connection.run("echo back").text == "back\n"


@pytest.mark.parametrize("where", ["cut_up", "cut_down"])
def test_a_cut_in_the_middle_is_not_an_answer(tmp_path: Path, proxy: WanProxy, where: str) -> None:
    connection = Connection(login(config=ssh_config(tmp_path, proxy.port)))
    connection.run("true")
    setattr(proxy, where, (proxy.up if where == "cut_up" else proxy.down) + 100_000)
    with pytest.raises(TransientError):
        connection.run("cat", b"x" * 1_000_000)


def test_a_control_socket_is_used_and_its_loss_told_with_the_command(tmp_path: Path) -> None:
    path = str(tmp_path / "mux")
    base = ["ssh", "-F", str(SSHD / "ssh_config"), "-S", path]
    subprocess.run([*base, "-fNM", "cluster"], check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    control = ControlSocket(login(control_path=path))
    try:
        answer = control.run("cat; exit 4", b"through the socket")
        assert (answer.code, answer.text) == (4, "through the socket")
        assert b"".join(control.stream("printf a; sleep 0.1; printf b")) == b"ab"
    finally:
        subprocess.run([*base, "-O", "exit", "cluster"], check=True, capture_output=True)
    with pytest.raises(RejectedError, match=f"ssh -fNM -S '{path}'"):
        control.run("true")
