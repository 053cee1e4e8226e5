"""What goes wrong on purpose: by method, path and how often."""

import threading
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tests.lepton.wire import Answer, Reply, Request


@dataclass
class Fault:
    """One rule; it goes when it has been used `times` times (None for never)."""

    method: str
    path: str
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    delay: float = 0.0
    """Seconds before anything else."""
    drop: bool = False
    """Break the connection instead of an answer."""
    after: bool = False
    """Do what was asked first, then lose the answer."""
    times: int | None = 1
    cut: int | None = None
    """Bytes of the true answer after which the connection breaks."""
    quiet: bool = False
    """Whether a live log that is cut ends as if that were all."""


class Faults:
    """The rules in force, oldest first."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.rules: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """A new rule."""
        with self.lock:
            self.rules.append(fault)

    def clear(self) -> None:
        """Everything works again."""
        with self.lock:
            self.rules.clear()

    def take(self, request: Request) -> Fault | None:
        """The first rule for this request, which is thereby used once."""
        with self.lock:
            for rule in self.rules:
                if fnmatchcase(request.method, rule.method) and fnmatchcase(request.path, rule.path):
                    if rule.times is not None:
                        rule.times -= 1
                        if rule.times <= 0:
                            self.rules.remove(rule)
                    return rule
        return None


def answered(fault: Fault | None, request: Request, answer: Answer, stopping: threading.Event) -> Reply | None:
    """The reply to a request under a fault, or the true one without."""
    if fault is None:
        return answer(request)
    stopping.wait(fault.delay)
    if fault.after:
        answer(request)
    if fault.drop:
        return None
    if fault.status is not None or fault.body is not None:
        status = 200 if fault.status is None else fault.status
        body = {"code": "Injected", "message": f"status {status}"} if fault.body is None else fault.body
        return Reply(status, body, fault.headers)
    if fault.after:
        return Reply(500, {"code": "Injected", "message": "the answer is lost"}, fault.headers)
    reply = answer(request)
    if reply is None:
        return None
    return Reply(reply.status, reply.body, reply.headers | fault.headers, fault.cut, fault.quiet)
