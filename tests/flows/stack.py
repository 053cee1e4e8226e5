"""A real Prefect server and a real process worker for tests, on a free port of this machine, and what to ask them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil

from tests.waiting import PATIENCE, wait_for

PREFECT = str(Path(sys.executable).parent / "prefect")

SET_UP = """
import asyncio, sys
from prefect.client.orchestration import get_client
from proctor.flows import deployments
as_shipped = deployments.schedule
if not sys.argv[1:]:
    deployments.schedule = lambda entry: as_shipped({**entry, "active": False})
async def main():
    async with get_client() as client:
        await deployments.set_up(client, own=True)
asyncio.run(main())
"""
"""Everything that `proctor up` makes. Without an argument no schedule is active: what they mend is what tests watch."""

RESERVED: list[socket.socket] = []


def free_port() -> int:
    """A port that nobody else is given, also while its server is away; who serves there may take it all the same."""
    kept = socket.socket()
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):  # servers set the one or the other
        kept.setsockopt(socket.SOL_SOCKET, option, 1)
    kept.bind(("127.0.0.1", 0))
    RESERVED.append(kept)
    return int(kept.getsockname()[1])


def end_tree(pid: int) -> None:
    """End a process and what it started."""
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in family:
        with suppress(psutil.NoSuchProcess):  # one may end by itself meanwhile
            process.kill()
    psutil.wait_procs(family, timeout=10)


@dataclass
class Stack:
    """Server, worker and the REST API between them and a test."""

    home: Path
    port: int = field(default_factory=free_port)
    limit: int | None = None
    """Flow runs that the worker takes at a time."""
    through: str = ""
    """Another address of the API, for the worker."""
    auth: tuple[str, str] | None = None
    """A name and a password, where its server asks for them."""
    server: subprocess.Popen[bytes] | None = None
    worker: subprocess.Popen[bytes] | None = None
    client: httpx.Client = field(default_factory=httpx.Client, repr=False)
    """One for all questions: a new one costs 30 ms of a core, and tests that wait ask all the time."""

    @property
    def env(self) -> dict[str, str]:
        """The environment of everything that talks to this server."""
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "PROCTOR"))},
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": self.api,
            "PREFECT_CLIENT_MAX_RETRIES": "100",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            # what the server remembers of a run for five minutes hides from short tests what happens to long evaluations
            "PREFECT_SERVER_EVENTS_RELATED_RESOURCE_CACHE_TTL": "PT0.1S",
            "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
            "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
            "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
            "PROCTOR_HOME": str(self.home / "proctor"),
            "DO_NOT_TRACK": "1",
        }

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def start_server(self) -> None:
        self.server = self._start([sys.executable, "-m", "proctor.flows.server", str(self.port)], "server.log")
        wait_for(self.healthy)

    def start_worker(self, *before: str) -> None:
        """A worker, by a command that starts another one where `before` says so."""
        arguments = ["--pool", "proctor", "--type", "process", "--name", "tests"]
        arguments += ["--limit", str(self.limit)] if self.limit else []
        command = [*before, sys.executable, "-m", "proctor.flows.worker", *arguments]
        self.worker = self._start(command, "worker.log", PREFECT_API_URL=self.through or self.api)

    def set_up(self, *, scheduled: bool = False) -> None:
        """Our deployments; their schedules are active only where a test asks for that."""
        self.python(SET_UP, *(["scheduled"] if scheduled else []))

    def stop(self) -> None:
        for process in (self.worker, self.server):
            if process is not None:
                end_tree(process.pid)
                process.wait()

    def mend(self) -> None:
        """Start again what is not there."""
        if self.server is None or self.server.poll() is not None:
            self.start_server()
        wait_for(self.healthy)
        if self.worker is None or self.worker.poll() is not None:
            self.start_worker()

    def python(self, code: str, *arguments: str) -> str:
        """What a script prints that talks to this server."""
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, env=self.env, cwd=self.home, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kill_worker(self) -> None:
        """Kill the worker alone; the engines that it started live on."""
        self.end_worker(signal.SIGKILL)

    def end_worker(self, number: signal.Signals) -> None:
        """Send the worker a signal that ends it."""
        assert self.worker
        os.kill(self.worker.pid, number)
        self.worker.wait(PATIENCE)

    def kill_server(self) -> None:
        assert self.server
        end_tree(self.server.pid)
        self.server.wait()

    def healthy(self) -> bool:
        try:
            return self.client.get(f"{self.api}/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def _start(self, command: list[str], log: str, **env: str) -> subprocess.Popen[bytes]:
        env = {**self.env, **env}
        with (self.home / log).open("ab") as out:
            return subprocess.Popen(command, stdout=out, stderr=out, env=env, cwd=self.home, start_new_session=True)

    def get(self, path: str) -> Any:
        """One answer of the REST API; again while the server is away."""
        return self._once_there(lambda: self.client.get(f"{self.api}{path}", auth=self.auth, timeout=10))

    def _once_there(self, ask: Callable[[], httpx.Response]) -> Any:
        def answer() -> list[Any]:
            try:
                response = ask()
            except httpx.TransportError:
                return []
            return [] if response.is_server_error else [response.raise_for_status().json()]

        return wait_for(answer)[0]

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """One answer; again while SQLite is busy with another run, as Prefect's own client does."""
        return self.ask("POST", path, body)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """The same by any method."""
        for _ in range(50):
            answer = self.client.request(method, f"{self.api}{path}", json=body, auth=self.auth, timeout=30)
            if answer.status_code != 503:
                break
            time.sleep(0.2)
        return answer

    def delete(self, path: str) -> None:
        """Take something out of the server."""
        self.ask("DELETE", path).raise_for_status()

    def create(self, deployment: str, config: dict[str, Any], due: datetime | None = None) -> httpx.Response:
        """The answer to a request for a run of `evaluate`, now or then."""
        found = self.get(f"/deployments/name/evaluate/{deployment}")
        details = {"state_details": {"scheduled_time": due.isoformat()}} if due else {}
        body = {"parameters": {"config": config}, "state": {"type": "SCHEDULED", **details}}
        return self.post(f"/deployments/{found['id']}/create_flow_run", body)

    def start(self, deployment: str, config: dict[str, Any], due: datetime | None = None) -> "Run":
        answer = self.create(deployment, config, due)
        assert answer.status_code == 201, answer.text
        return Run(self, answer.json()["id"])

    def filter(self, path: str, **wanted: Any) -> list[Any]:
        """What a question finds; again while the server is away."""
        return list(self._once_there(lambda: self.post(path, wanted)))


@dataclass(frozen=True)
class Run:
    """An evaluation, asked through the REST API."""

    stack: Stack
    flow_run_id: str

    @property
    def id(self) -> str:
        return UUID(self.flow_run_id).hex[-8:]

    @property
    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = self.stack.get(f"/flow_runs/{self.flow_run_id}")
        return record

    @property
    def state(self) -> str:
        return str(self.record["state_name"])

    @property
    def message(self) -> str:
        return str(self.record["state"]["message"])

    @property
    def labels(self) -> dict[str, Any]:
        return dict(self.record["labels"])

    @property
    def engine(self) -> int | None:
        """The pid of the process that drives it."""
        label = str(self.labels.get("proctor.engine", ""))
        return int(label.split()[1]) if label else None

    @property
    def folder(self) -> Path:
        return Path(str(self.labels["proctor.output_dir"]))

    def benchmarks(self) -> list[dict[str, Any]]:
        """The runs of its benchmarks, oldest first."""
        tags = {"all_": ["proctor:benchmark", f"evaluation:{self.id}"]}
        found = self.stack.filter("/flow_runs/filter", flow_runs={"tags": tags})
        return sorted(found, key=lambda each: str(each["created"]))

    def states(self) -> dict[str, str]:
        """The newest state of each benchmark, by its short name."""
        return {str(each["name"]).rpartition(".")[2]: str(each["state_name"]) for each in self.benchmarks()}

    def artifact(self, kind: str) -> Any:
        found = self.stack.filter("/artifacts/latest/filter", artifacts={"key": {"any_": [f"{kind}-{self.id}"]}})
        return found[0]["data"] if found else None

    def cancel(self, flow_run_id: str | None = None) -> None:
        body = {"state": {"type": "CANCELLING"}}
        self.stack.post(f"/flow_runs/{flow_run_id or self.flow_run_id}/set_state", body).raise_for_status()

    def abandon(self) -> None:
        """Let no worker take it up again: what a test leaves behind would come back beside later ones."""
        over = {"state": {"type": "CANCELLED"}, "force": True}
        self.stack.post(f"/flow_runs/{self.flow_run_id}/set_state", over).raise_for_status()

    def hurry(self) -> None:
        """Let a run that waits for its time start now."""
        body = {"state": {"type": "SCHEDULED", "state_details": {"scheduled_time": datetime.now(UTC).isoformat()}}}
        self.stack.post(f"/flow_runs/{self.flow_run_id}/set_state", {**body, "force": True}).raise_for_status()

    def _state_in(self, wanted: tuple[str, ...]) -> str:
        state = self.state
        return state if state in wanted else ""

    def until(self, *states: str, seconds: float = PATIENCE) -> str:
        """Wait for one of these states; the answer is the state."""
        wanted = states or ("Completed", "Failed", "Cancelled", "Unavailable")
        return wait_for(lambda: self._state_in(wanted), seconds, 0.5)
