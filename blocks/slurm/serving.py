"""Model servers inside an allocation: over several nodes, and several of them behind one port; pure text."""

import re

from proctor.blocks.job import Container, Server
from proctor.blocks.stages import server_command as in_place_of_the_shell
from proctor.blocks.stages import single
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import SlurmExecution

RAY_PORT = 6379
DIST_PORT = 20000


def instance_port(server: Server, execution: SlurmExecution) -> int:
    """Where each instance listens: behind a load balancer, which has the server's port, on the next one."""
    return server.port + 1 if execution.num_instances > 1 else server.port


def movable(server: Server, execution: SlurmExecution) -> bool:
    """Whether the server can be told another port when its own is taken on the node."""
    if server.kind == "nim" and "port" not in (server.command or ""):
        return True
    return re.search(rf"--port[ =]{instance_port(server, execution)}(?![0-9])", server.command or "") is not None


def nodes_each(execution: SlurmExecution) -> int:
    """Nodes of one instance. Raises ConfigError when the nodes cannot be shared out evenly."""
    if execution.nodes % execution.num_instances:
        raise ConfigError(
            f"execution.num_instances: {execution.num_instances} servers cannot share {execution.nodes} nodes evenly; "
            "set execution.nodes to a multiple"
        )
    return execution.nodes // execution.num_instances


def server_command(server: Server, execution: SlurmExecution) -> str:
    """The script that every task of an instance runs; $SLURM_PROCID is its number, $MASTER the first node."""
    nodes, command = nodes_each(execution), server.command or ""
    if nodes == 1 or server.kind not in {"vllm", "sglang"}:
        return f"# the server\n{in_place_of_the_shell(server)}\n"
    if not single(command):
        raise ConfigError(
            "deployment.command: over several nodes it must be one program with its arguments; what comes before it "
            "goes into deployment.pre_cmd"
        )
    if server.kind == "vllm":
        command = ray(command, nodes)
    else:
        command = f'exec {command} --nnodes {nodes} --node-rank "$SLURM_PROCID" --dist-init-addr "$MASTER:{DIST_PORT}"'
    return "\n".join(part for part in ("# the server", server.pre_cmd, command) if part) + "\n"


def ray(command: str, nodes: int) -> str:
    """A Ray cluster over the nodes of an instance, with vLLM on the first of them."""
    return f"""VLLM_HOST_IP=$(hostname -I 2>/dev/null | awk '{{ print $1 }}')
export VLLM_HOST_IP
if [ "$SLURM_PROCID" -ne 0 ]; then
  for _ in $(seq 120); do
    ray start --address="$MASTER:{RAY_PORT}" --node-ip-address="$VLLM_HOST_IP" --block && exit 0
    sleep 5
  done
  echo "no Ray head at $MASTER:{RAY_PORT} within ten minutes" >&2
  exit 1
fi
ray start --head --port={RAY_PORT} --node-ip-address="$VLLM_HOST_IP" --disable-usage-stats || exit 1
for _ in $(seq 120); do
  [ "$(ray status 2>/dev/null | grep -c '^ *1 node_')" -lt {nodes} ] || break
  sleep 5
done
exec {command} --distributed-executor-backend ray"""


def haproxy(server: Server) -> str:
    """The load balancer's configuration up to the list of instances, which the job adds."""
    return f"""global
  maxconn 4096
defaults
  mode http
  balance leastconn
  option httpchk GET {server.health_path}
  timeout connect 10s
  timeout client 24h
  timeout server 24h
frontend front
  bind 127.0.0.1:{server.port}
  default_backend instances
backend instances
"""


def proxy_container(execution: SlurmExecution) -> Container:
    """What the load balancer runs in; without containers it is the node's own."""
    return Container(execution.proxy_image if execution.container_runtime != "none" else None)
