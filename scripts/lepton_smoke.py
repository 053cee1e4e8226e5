"""What the Lepton service really does, one line for each thing that Proctor relies on: see docs/lepton.md."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import httpx

from proctor.blocks.errors import BackendError
from proctor.blocks.lepton.connection import RefusalError
from proctor.blocks.lepton.homecoming import SUM_MARK
from proctor.blocks.lepton.render import IDLE_SECONDS, LONGEST
from proctor.blocks.lepton.servers import REMOVAL
from proctor.blocks.lepton.verdict import LAST_WORDS, SETTLE
from proctor.blocks.lepton.workspace import FORBIDDEN, SeenJob, Workspace
from proctor.configs.execution_schema import LeptonExecution

if TYPE_CHECKING:
    from leptonai.api.v2 import APIClient

SERVER = (
    "import http.server, os\n"
    "class Answer(http.server.BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        self.send_response(200); self.end_headers(); self.wfile.write(b'ok')\n"
    "http.server.ThreadingHTTPServer(('0.0.0.0', {port}), Answer).serve_forever()\n"
)
LONG_LINE = 6000
T = TypeVar("T")


class Smoke:
    """One pass through the workspace; `failed` holds what is not as Proctor expects."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.mark = f"prc-smoke-{uuid4().hex[:20]}"  # as long as the names that Proctor makes
        self.workspace = Workspace(LeptonExecution(resource_shape=options.shape, node_group=options.node_group))
        self.group = ""
        self.failed: list[str] = []

    def run(self) -> None:
        """Every check, and the removal of what they made."""
        try:
            checks = (self.place, self.secrets, self.refusals, self.job, self.end, self.archive, self.schedule)
            for check in (*checks, self.removal, self.endpoint):
                self.one(check)
        finally:
            self.clear()

    def one(self, check: Callable[[], Iterator[tuple[str, bool, str]]]) -> None:
        """One check, whose lines are printed as they come."""
        try:
            for what, good, seen in check():
                self.say(what, good, seen)
        except (BackendError, TimeoutError, httpx.HTTPError) as error:
            self.say(check.__name__, good=False, seen=str(error))

    def say(self, what: str, good: bool, seen: str) -> None:
        """One line."""
        print(f"{'ok      ' if good else 'DIFFERS '} {what}: {seen}", flush=True)
        if not good:
            self.failed.append(what)

    def place(self) -> Iterator[tuple[str, bool, str]]:
        """Node groups and shapes."""
        groups = self.workspace.groups()
        self.group = groups.get(self.options.node_group or "", "")
        yield "node groups are listed by name and id", bool(groups), ", ".join(sorted(groups)) or "none"
        for purpose in ("job", "deployment"):
            shapes = [each.name for each in self.workspace.shapes(self.group or None, purpose)]
            yield f"shapes for {purpose} are listed and hold yours", self.options.shape in shapes, ", ".join(shapes)

    def secrets(self) -> Iterator[tuple[str, bool, str]]:
        """Secrets with dots in their names, which Proctor makes for every job."""
        name = f"{self.mark}.TOKEN"
        self.workspace.create_secrets({name: "canary"})
        yield "a secret may have a dot in its name and is listed at once", name in self.workspace.secrets(), name

    def refusals(self) -> Iterator[tuple[str, bool, str]]:
        """What must be refused when it is asked for, not when it runs."""
        unknown = {"name": "X", "value_from": {"secret_name_ref": f"{self.mark}.nothing"}}
        elsewhere = {"allowed_dedicated_node_groups": ["no-such-group-ab12cd34"]}
        changes: dict[str, dict[str, Any]] = {
            "an unknown node group is refused at creation": {"affinity": elsewhere},
            "an unknown shape is refused at creation": {"resource_shape": "no.such.shape"},
            "a missing secret is refused at creation": {"envs": [unknown]},
        }
        for what, change in changes.items():
            try:
                self.create("r", "true", **change)
            except RefusalError as error:
                yield what, error.status in {400, 404, 422}, str(error)
            else:
                yield what, False, "accepted"

    def job(self) -> Iterator[tuple[str, bool, str]]:
        """Names, labels, lists, and the log of a job."""
        line = "x" * LONG_LINE
        text = f'echo "pid $$"; [ "$TOKEN" = canary ] && echo secret-ok; echo {line}; echo "{SUM_MARK} x"; for n in $(seq 300); do echo n$n; done'
        reference = {"name": "TOKEN", "value_from": {"secret_name_ref": f"{self.mark}.TOKEN"}}
        started = time.monotonic()
        key = self.create("a", text, envs=[reference])
        yield "an id is its name and a suffix", key.startswith(f"{self.mark}-a-"), key
        found = self.until(lambda: self.seen("a"), "the job is listed")
        took = time.monotonic() - started
        yield "a job is listed by a part of its name within 20 s", took <= SETTLE, f"after {took:.1f} s"
        labels = self.workspace.ask("its labels", lambda client: client.job.get(key).metadata.labels)
        yield "labels may or may not be kept", True, str(labels or "dropped")
        done = self.until(lambda: each if (each := self.seen("a")) and each.state == "Completed" else None, "it ends")
        yield "counts tell how it ended", (done.succeeded, done.failed) == (1, 0), f"{done.succeeded}/{done.failed}"
        ended = time.monotonic()
        lines = self.until(lambda: self.log(found.id, "n300"), "its log arrives")
        took = time.monotonic() - ended
        yield "its whole log is there within 30 s of its end", took <= LAST_WORDS, f"after {took:.1f} s"
        yield (
            "every line of the log arrives, once",
            lines.count("n150") == 1 and len(lines) >= 302,
            f"{len(lines)} lines",
        )
        yield "a long line stays one line", line in lines, f"longest {max(map(len, lines))}"
        rows = [text for _, text in self.workspace.log("job", found.id, time.time() - 3600, SUM_MARK)]
        yield "q= finds the lines of a log that hold a text", rows == [f"{SUM_MARK} x"], f"{len(rows)} lines"
        yield "a secret becomes a variable", "secret-ok" in lines, "yes" if "secret-ok" in lines else "no"
        pid = next((each for each in lines if each.startswith("pid ")), "?")
        yield "the command may or may not be process 1", True, pid

    def end(self) -> Iterator[tuple[str, bool, str]]:
        """A job that fails, with as long a command as benchmarks that share a job may need."""
        self.create("f", f"exit 3 # {'x' * (LONGEST - 10)}")
        done = self.until(lambda: each if (each := self.seen("f")) and each.state == "Failed" else None, "it fails")
        yield f"a command may have {LONGEST} bytes", True, "it ran"
        yield "a failed job is not started again and counts", done.failed == 1, f"failed {done.failed}"
        yield "its events say something", True, ", ".join(self.workspace.reasons(done.id)) or "none"

    def archive(self) -> Iterator[tuple[str, bool, str]]:
        """A job whose time is over."""
        self.create("o", "true", ttl_seconds_after_finished=1)
        kept = self.until(
            lambda: each if (each := self.seen("o")) and each.state == "Archived" else None, "it is archived"
        )
        yield "an archived job is still listed", True, kept.id
        counts = (kept.succeeded, kept.failed)
        yield "its counts still tell how it ended", counts == (1, 0), f"{kept.succeeded}/{kept.failed}"

    def schedule(self) -> Iterator[tuple[str, bool, str]]:
        """A job with a start time."""
        self.create("w", "true", time_schedule={"start_at": int(time.time()) + 86400})
        found = self.until(lambda: self.seen("w"), "it is listed")
        yield "a job that waits for its start time is Awaiting", found.state == "Awaiting", found.state

    def removal(self) -> Iterator[tuple[str, bool, str]]:
        """A job that runs is removed: is it warned, and is its log still there?"""
        key = self.create("t", "trap 'echo warned; exit 0' TERM; echo on; while :; do sleep 1; done")
        self.until(lambda: self.log(key, "on"), "it runs, and would hear it")
        started = time.monotonic()
        self.workspace.delete_job(key)
        self.until(lambda: not self.seen("t"), "it is gone")
        yield "a removed job leaves the list", True, f"after {time.monotonic() - started:.1f} s"
        warned = bool(self.log(key, "warned"))
        yield "it was told to end before it was killed", warned, "warned" if warned else "no word"

    def endpoint(self) -> Iterator[tuple[str, bool, str]]:
        """An endpoint with a token by reference."""
        name, port = f"{self.mark}-s", self.options.port
        resources = {
            "resource_shape": self.options.shape,
            "min_replicas": 1,
            "max_replicas": 1,
            "affinity": self.affinity,
        }
        command = ["python3", "-c", SERVER.format(port=port)]
        container = {"image": self.options.image, "ports": [{"container_port": port}], "command": command}
        tokens = [{"value_from": {"token_name_ref": f"{self.mark}.TOKEN"}}]
        idle = {"scale_down": {"no_traffic_timeout": IDLE_SECONDS}}
        spec = {"container": container, "resource_requirement": resources, "api_tokens": tokens, "auto_scaler": idle}
        document = {"metadata": {"name": name, "visibility": "private"}, "spec": spec}
        yield "the family of endpoints that it does not have is refused", *self.other_family()
        started = time.monotonic()
        self.workspace.create_endpoint(document)
        try:
            self.workspace.create_endpoint(document)
            yield "a name that is taken is refused", False, "accepted twice"
        except RefusalError as error:
            yield "a name that is taken is refused", error.status == 409, f"HTTP {error.status}"
        ready = self.until(
            lambda: each if (each := self.workspace.endpoint(name)) and each.state == "Ready" and each.url else None,
            "the endpoint is ready",
        )
        yield "an endpoint becomes Ready and has a URL", True, f"after {time.monotonic() - started:.0f} s"
        shown = self.workspace.ask("its document", lambda client: client.deployment.get(name).model_dump_json())
        yield "its token is not shown", "canary" not in shown, "hidden" if "canary" not in shown else "in clear"
        kept = f'"no_traffic_timeout":{IDLE_SECONDS}' in shown
        yield (
            "a week without requests is allowed (that it is kept up, only a week shows)",
            kept,
            "kept" if kept else shown,
        )
        answers = {word: self.status(f"{ready.url}/health", word) for word in ("canary", "wrong", "")}
        yield "its token by reference opens it, and nothing else does", answers["canary"] == 200, str(answers)
        started = time.monotonic()
        self.workspace.delete_endpoint(name)
        self.until(lambda: self.workspace.endpoint(name) is None, "the endpoint is gone")
        took = time.monotonic() - started
        yield "its name is free again within a minute of its removal", took <= REMOVAL, f"after {took:.0f} s"

    def other_family(self) -> tuple[bool, str]:
        """Whether the workspace answers 403 where it has no endpoints, and what it answers."""

        def ask(client: "APIClient") -> int:
            path = "/deployments" if client.new_deployment_api_enabled else "/endpoints"
            return int(client._get(path).status_code)

        status = self.workspace.ask("the other family of endpoints", ask)
        return status == FORBIDDEN, f"HTTP {status}"

    @property
    def affinity(self) -> dict[str, Any] | None:
        """The node group, if there is one."""
        return {"allowed_dedicated_node_groups": [self.group]} if self.group else None

    def create(self, letter: str, text: str, **more: Any) -> str:
        """A job of one shell line."""
        spec = {
            "resource_shape": self.options.shape,
            "affinity": self.affinity,
            "container": {"image": self.options.image, "command": ["/bin/sh", "-c", text]},
            "max_failure_retry": 0,
            "max_job_failure_retry": 0,
            "log": {"enable_collection": True},
        }
        metadata = {"name": f"{self.mark}-{letter}", "labels": {"proctor.smoke": letter}}
        return self.workspace.create_job({"metadata": metadata, "spec": spec | more})

    def seen(self, letter: str) -> SeenJob | None:
        """The job of that letter, as it is listed."""
        return self.workspace.jobs(f"{self.mark}-{letter}").get(f"{self.mark}-{letter}")

    def log(self, key: str, last: str) -> list[str]:
        """The lines of a job, once the last one is there."""
        lines = [text for _, text in self.workspace.log("job", key, time.time() - 3600)]
        return lines if last in lines else []

    def status(self, url: str, token: str) -> int:
        """What an endpoint answers to a token."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.get(url, headers=headers, timeout=30, follow_redirects=True).status_code

    def until(self, question: Callable[[], T | None], what: str) -> T:
        """The first answer. Raises TimeoutError."""
        deadline = time.monotonic() + self.options.patience
        while time.monotonic() < deadline:
            if answer := question():
                return answer
            time.sleep(self.options.pause)
        raise TimeoutError(f"{what}: not within {self.options.patience:g} s")

    def clear(self) -> None:
        """Remove everything that this pass made."""
        with suppressed():
            for each in self.workspace.every_job(self.mark):
                self.workspace.delete_job(each.id)
        with suppressed():
            self.workspace.delete_endpoint(f"{self.mark}-s")
        with suppressed():
            self.workspace.delete_secrets([each for each in self.workspace.secrets() if each.startswith(self.mark)])


@contextmanager
def suppressed() -> Iterator[None]:
    """Go on with the rest of the clearing."""
    try:
        yield
    except BackendError as error:
        print(f"not removed: {error}", file=sys.stderr)


def main() -> int:
    """0 when everything is as Proctor expects."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="cpu.small", help="a shape for the jobs and the endpoint")
    parser.add_argument("--node-group", help="name or id; most workspaces need one")
    parser.add_argument("--image", default="python:3.11-slim", help="an image with sh and python3")
    parser.add_argument("--port", type=int, default=8000, help="where the endpoint's server listens")
    parser.add_argument("--patience", type=float, default=300, help="seconds for each wait")
    parser.add_argument("--pause", type=float, default=5, help="seconds between two questions")
    smoke = Smoke(parser.parse_args())
    smoke.run()
    print(f"{len(smoke.failed)} of Proctor's assumptions differ" if smoke.failed else "everything is as expected")
    return 1 if smoke.failed else 0


if __name__ == "__main__":
    sys.exit(main())
