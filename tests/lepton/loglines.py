"""What workloads print: raw for who follows, by the line and nanosecond for who asks later."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.lepton.wire import Request, invalid

LIMIT = 5000
MOST = 10000
HOUR = 3600 * 10**9


@dataclass(frozen=True)
class Line:
    """A line of one replica."""

    at: int
    """Nanoseconds of the epoch; no two lines of a log have the same."""
    replica: str
    text: str


class Log:
    """The output of one workload, of all its replicas and attempts."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.raw = b""
        self.lines: list[Line] = []
        self.rest: dict[str, bytes] = {}
        """Lines without an end, by stream."""
        self.last = 0

    def write(self, data: bytes, replica: str, stream: str = "stdout", late: float = 0.0) -> None:
        """More output, printed so many seconds ago; a line without its end is kept until the rest arrives."""
        with self.changed:
            self.raw += data
            *whole, self.rest[stream] = (self.rest.get(stream, b"") + data).split(b"\n")
            for line in whole:
                self.add(line, replica, late)
            self.changed.notify_all()

    def close(self, replica: str) -> None:
        """No more output of this attempt: what stands there is a line too."""
        with self.changed:
            for line in filter(None, self.rest.values()):
                self.add(line, replica)
            self.rest.clear()

    def add(self, line: bytes, replica: str, late: float = 0.0) -> None:
        """One line, of now or of so many seconds ago."""
        self.last = max(time.time_ns(), self.last + 1)
        self.lines.append(Line(self.last - int(late * 1e9), replica, line.decode(errors="replace")))

    def follow(self, over: Callable[[], bool], size: int | None) -> Iterator[bytes]:
        """Everything so far and all that comes, in pieces of `size` bytes, until it is over."""
        sent = 0
        while True:
            ended = over()
            with self.changed:
                piece = self.raw[sent:]
                if not piece and not ended:
                    self.changed.wait(0.05)
            sent += len(piece)
            yield from (piece[at : at + size] for at in range(0, len(piece), size)) if size and piece else [piece]
            if ended and not piece:
                return

    def between(self, request: Request, lag: float) -> list[Line]:
        """The lines that a `GET /logs` asks for."""
        limit = int(request.one("limit", str(LIMIT)))
        if not 0 < limit <= MOST:
            raise invalid(f"limit must be between 1 and {MOST}")
        now = time.time_ns()
        start, end = int(request.one("start", str(now - HOUR))), int(request.one("end", str(now + HOUR)))
        replica, text = request.one("replica"), request.one("q")
        visible = now - int(lag * 1e9)
        with self.changed:
            found = [
                line
                for line in self.lines
                if start <= line.at < end and line.at <= visible and text in line.text and replica in {"", line.replica}
            ]
        return found[:limit] if request.one("direction", "backward") == "forward" else found[::-1][:limit]


def streams(lines: list[Line]) -> dict[str, object]:
    """Lines as Loki answers them."""
    found: dict[str, list[list[str]]] = {}
    for line in lines:
        found.setdefault(line.replica, []).append([str(line.at), line.text])
    result = [{"stream": {"replica": replica}, "values": values} for replica, values in found.items()]
    return {"status": "success", "data": {"resultType": "streams", "result": result}}
