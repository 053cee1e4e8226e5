"""HTTP on loopback: requests as values, replies as values, connections that can be cut."""

import copy
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    """What was asked. `path` has no query; below the workspace's URL on the service, and as it came on an endpoint."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any
    """Parsed JSON, else text; None when there was none."""
    raw: bytes = field(default=b"", repr=False)
    target: str = ""
    """Path and query as they came."""
    at: float = field(default_factory=time.monotonic)
    status: int | None = None
    """The status that was answered; None while it was not, or never."""

    def one(self, key: str, otherwise: str = "") -> str:
        """The only value of a query parameter."""
        return self.query.get(key, [otherwise])[0]

    @property
    def bearer(self) -> str:
        """The token in the Authorization header; empty for another kind of authorization."""
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        return token if kind == "Bearer" else ""


@dataclass(frozen=True)
class Reply:
    """What is answered: JSON, bytes as they are, or a stream of bytes."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    """Bytes of the body after which the connection breaks."""
    quiet: bool = False
    """Whether a stream that is cut ends as if that were all."""


class Refusal(Exception):
    """What the service does not do, in its own words."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.reply = Reply(status, {"code": code, "message": message})


def invalid(message: str) -> Refusal:
    """400 for a request that cannot be right."""
    return Refusal(400, "InvalidRequest", message)


def unknown(what: str) -> Refusal:
    """404 for something that is not there."""
    return Refusal(404, "NotFound", f"{what} not found")


class CutError(OSError):
    """The connection is to break now."""


Answer = Callable[[Request], Reply | None]
"""None drops the connection without an answer."""


class Listener:
    """Answers requests at 127.0.0.1 until `stop`."""

    def __init__(self, answer: Answer, port: int = 0) -> None:
        self.server = Server(("127.0.0.1", port), Handler)
        self.server.answer = answer
        self.port = int(self.server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Refuse connections and end those there are."""
        self.server.shutdown()
        self.server.server_close()
        for sock in list(self.server.open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)


class Server(ThreadingHTTPServer):
    """Knows its open connections."""

    daemon_threads = True
    request_queue_size = 128
    answer: Answer

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.open: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        sock, address = super().get_request()
        self.open.add(sock)
        return sock, address

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is none."""


class Handler(BaseHTTPRequestHandler):
    """Reads a request, asks the listener, writes the reply."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        request = self.read()
        reply = self.server.answer(request)
        if reply is None:
            return self.reset()
        request.status = reply.status
        try:
            self.write(reply)
        except CutError:
            self.reset()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def read(self) -> Request:
        """The request as a value of its own."""
        parts = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = parse_qs(parts.query, keep_blank_values=True)
        headers = dict(self.headers.items())
        return Request(self.command, parts.path, query, headers, parsed(raw), raw, self.path)

    def write(self, reply: Reply) -> None:
        """The whole reply in one go, or piece by piece for a stream."""
        if isinstance(reply.body, Iterator):
            return self.stream(reply, reply.body)
        data = encoded(reply.body)
        shown = data if reply.cut is None else data[: reply.cut]
        self.head(reply, {"Content-Length": str(len(data))})
        self.wfile.write(shown)
        if len(shown) < len(data):
            raise CutError

    def stream(self, reply: Reply, pieces: Iterator[bytes]) -> None:
        """A chunked body, which ends without its last chunk where it is cut; a quiet one ends with the connection."""
        self.head(reply, {"Connection": "close"} if reply.quiet else {"Transfer-Encoding": "chunked"})
        left = reply.cut
        for piece in pieces:
            shown = piece if left is None else piece[:left]
            if shown:
                self.wfile.write(shown if reply.quiet else b"%x\r\n%b\r\n" % (len(shown), shown))
            if left is not None:
                left -= len(shown)
                if left <= 0 and reply.quiet:
                    return
                if left <= 0:
                    raise CutError
        if not reply.quiet:
            self.wfile.write(b"0\r\n\r\n")

    def head(self, reply: Reply, more: dict[str, str]) -> None:
        """Status and headers."""
        self.send_response(reply.status)
        for name, value in ({"Content-Type": "application/json"} | reply.headers | more).items():
            self.send_header(name, value)
        self.end_headers()

    def reset(self) -> None:
        """Break the connection, as a proxy does that dies."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: `requests` of the service has it all."""


def parsed(raw: bytes) -> Any:
    """JSON where it is, text where not."""
    if not raw:
        return None
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")


def encoded(body: Any) -> bytes:
    """A body as bytes."""
    if body is None or isinstance(body, bytes):
        return body or b""
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def copied(request: Request) -> Request:
    """A request that later changes of its body do not reach."""
    return Request(**{**request.__dict__, "body": copy.deepcopy(request.body)})
