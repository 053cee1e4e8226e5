"""SSH to a real sshd: configuration, host keys, reuse, and networks that fail."""

import socket
import subprocess
import threading
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
from tests.waiting import wait_for
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


def test_one_connection_serves_many_commands_and_none_waits_for_the_next() -> None:
    connection = Connection(login())
    for _ in range(20):
        connection.run("true")
    assert connection.opened == 1
    transport = connection.clients[-1].get_transport()
    assert transport and isinstance(transport.sock, socket.socket)
    assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), (
        "with Nagle's algorithm a command takes 44 ms"
    )


@pytest.mark.parametrize("gently", [False, True], ids=["reset", "closed"])
def test_a_network_that_breaks_during_the_login_is_no_refusal(proxy: WanProxy, tmp_path: Path, *, gently: bool) -> None:
    proxy.gently = gently
    config = ssh_config(tmp_path, proxy.port)
    whole = Connection(login(config=config))
    whole.run("true")
    size = proxy.up
    whole.close()
    for part in range(0, size, 100):
        proxy.cut_up = proxy.up + part
        with pytest.raises(TransientError):
            Connection(login(config=config)).run("true")


def test_large_input_and_output_do_not_block_each_other() -> None:
    data = bytes(range(256)) * 20_000
    assert Connection(login()).run("cat", data).out == data


def test_jump_hosts_are_followed() -> None:
    connection = Connection(login(hostname="cluster-jump"))
    assert connection.run("echo $SSH_CONNECTION").text.startswith("127.0.0.1")
    assert len(connection.clients) == 2
    connection.close()


@pytest.mark.parametrize("port", [1, SSH_PORT], ids=["nobody listens", "refused"])
def test_a_jump_host_before_a_cluster_that_is_away_is_let_go(tmp_path: Path, port: int) -> None:
    """Or each look at a cluster that is down for a night would leave a login on its jump host behind."""
    options = {"ProxyJump": "cluster", "IdentityFile": str(SSHD / "wrong_key")}
    config = ssh_config(tmp_path, port, **options)
    Path(config).write_text(Path(config).read_text().replace("Host cluster\n", "Host away\n") + jump())
    before = threading.active_count()
    for _ in range(3):
        with pytest.raises((TransientError, RejectedError)):
            Connection(login(hostname="away", config=config)).run("true")
    wait_for(lambda: threading.active_count() <= before, 10)


def jump() -> str:
    """The test cluster as a host to jump from."""
    return (SSHD / "ssh_config").read_text().partition("Host cluster-jump")[0]


def test_a_proxy_command_is_used(tmp_path: Path) -> None:
    through = f"ssh -F {SSHD}/ssh_config -W %h:%p cluster 2>{tmp_path}/%n-%r-100%%"
    connection = Connection(login(config=ssh_config(tmp_path, SSH_PORT, ProxyCommand=through)))
    assert connection.run("echo yes").text == "yes\n"
    assert (tmp_path / f"cluster-{USER}-100%").exists()
    connection.close()


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A key that is of use only through the agent that holds it: its file has a passphrase nobody knows."""
    key, sock = tmp_path / "agent_key", tmp_path / "agent"
    for source in ("client_key", "client_key.pub"):
        (tmp_path / source.replace("client", "agent")).write_bytes((SSHD / source).read_bytes())
    key.chmod(0o600)
    running = subprocess.Popen(["ssh-agent", "-D", "-a", sock], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(sock))
        while not sock.exists():
            time.sleep(0.02)
        subprocess.run(["ssh-add", "-q", key], check=True, capture_output=True)
        subprocess.run(["ssh-keygen", "-q", "-p", "-N", "unknown", "-f", key], check=True, capture_output=True)
        yield key
    finally:
        running.terminate()
        running.wait()


@pytest.mark.parametrize("only", ["yes", "no"])
def test_a_key_with_a_passphrase_is_used_through_the_agent(tmp_path: Path, agent: Path, only: str) -> None:
    config = ssh_config(tmp_path, SSH_PORT, IdentityFile=str(agent), IdentitiesOnly=only)
    assert Connection(login(config=config)).run("echo yes").text == "yes\n"
    assert Connection(login(config=config, key=str(agent))).run("echo yes").text == "yes\n"


def test_with_identities_only_the_agent_offers_nothing_else(tmp_path: Path, agent: Path) -> None:
    config = ssh_config(tmp_path, SSH_PORT, IdentityFile=str(SSHD / "wrong_key"), IdentitiesOnly="yes")
    assert agent.exists()
    with pytest.raises(RejectedError, match="refused"):
        Connection(login(config=config)).run("true")


def test_names_of_keys_may_hold_tokens(tmp_path: Path) -> None:
    (tmp_path / f"key-{USER}-cluster").write_bytes((SSHD / "client_key").read_bytes())
    config = ssh_config(tmp_path, SSH_PORT, IdentityFile=f"{tmp_path}/key-%r-%n")
    assert place(login(config=config)).keys == (f"{tmp_path}/key-{USER}-cluster",)


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


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlSocket]:
    """A control socket that the user opened, in a folder with a space."""
    (tmp_path / "my sockets").mkdir()
    path = str(tmp_path / "my sockets" / "mux")
    base = ["ssh", "-F", str(SSHD / "ssh_config"), "-S", path]
    subprocess.run([*base, "-fNM", "cluster"], check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield ControlSocket(login(control_path=path))
    subprocess.run([*base, "-O", "exit", "cluster"], check=False, capture_output=True)


def lose(control: ControlSocket) -> None:
    """End the master connection."""
    base = ["ssh", "-F", str(SSHD / "ssh_config"), "-S", control.path]
    subprocess.run([*base, "-O", "exit", "cluster"], check=True, capture_output=True)


def test_a_control_socket_is_used(control: ControlSocket) -> None:
    answer = control.run("cat; exit 4", b"through the socket")
    assert (answer.code, answer.text) == (4, "through the socket")
    assert b"".join(control.stream("printf a; sleep 0.1; printf b")) == b"ab"


def test_silence_on_a_control_socket_ends_in_time(control: ControlSocket) -> None:
    with pytest.raises(TransientError, match="in time"):
        list(control.stream("printf a; sleep 30", silence=0.5))


def test_the_command_that_is_told_opens_a_lost_control_socket_again(control: ControlSocket) -> None:
    lose(control)
    with pytest.raises(RejectedError, match="open the connection again with: ") as told:
        control.run("true")
    command = str(told.value).partition("again with: ")[2]
    subprocess.run(command, shell=True, check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert control.run("echo back").text == "back\n"
