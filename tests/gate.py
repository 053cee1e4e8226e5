"""A port on loopback that leads to a server and can be shut: then it refuses connections, and those that were open break."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit

from tests.flows.stack import free_port


class Gate:
    """`with Gate(url) as gate:` connect to gate.url."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._port = free_port()
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._open: list[socket.socket] = []
        self._cut: tuple[bytes, float] | None = None
        self._later: threading.Timer | None = None
        self._watch(self._listener)

    @property
    def url(self) -> str:
        """The server, through this gate."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> "Gate":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._later:
            self._later.cancel()
        self.shut()

    def open(self) -> None:
        """Let connections through again."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._watch(self._listener)

    def shut(self) -> None:
        """Refuse connections, and break those that there are."""
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def shut_behind(self, words: bytes, seconds: float) -> None:
        """The next request with these words reaches the server, and its answer nobody; the gate stays shut for so long.

        With 0 it is never shut, and only that connection breaks.
        """
        self._cut = (words, seconds)

    def _watch(self, listener: socket.socket) -> None:
        threading.Thread(target=self._accept, args=[listener], daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                here, _ = listener.accept()
                there = socket.create_connection((self._target.hostname, self._target.port))
                self._open += [here, there]
                threading.Thread(target=self._ask, args=[here, there], daemon=True).start()
                threading.Thread(target=pump, args=[there, here], daemon=True).start()

    def _ask(self, here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while data := here.recv(65536):
                if self._cut and self._cut[0] in data:
                    seconds, self._cut = self._cut[1], None
                    self._lose_answer(data, here, seconds)
                    return
                there.sendall(data)
        there.close()

    def _lose_answer(self, data: bytes, here: socket.socket, seconds: float) -> None:
        """Ask the server by a connection of its own, wait until it has done so, and shut."""
        with socket.create_connection((self._target.hostname, self._target.port)) as alone:
            alone.sendall(data)
            if b"\r\n\r\n" in data and data.endswith(b"\r\n\r\n"):  # the body comes by itself
                alone.sendall(here.recv(65536))
            alone.recv(65536)
        if not seconds:
            here.shutdown(socket.SHUT_RDWR)
            return
        self.shut()
        self._later = threading.Timer(seconds, self.open)
        self._later.start()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """One direction of a connection, as it is."""
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    sink.close()
