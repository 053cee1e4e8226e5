"""An HTTP proxy on loopback that loses answers: the server has done what was asked, and its client hears nothing.

Each request that changes something loses its first answer; the same request again is answered. Websockets pass.
"""

import asyncio
import re
import threading
from collections import Counter
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit

READS = re.compile(rb"/(filter|count|history|paginate|get_scheduled_flow_runs|lateness|heartbeat)\b")
"""Paths whose POST asks for something, or says only that a worker lives."""
LENGTH = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)
CHUNKED = re.compile(rb"^transfer-encoding: *chunked", re.IGNORECASE | re.MULTILINE)
UPGRADE = re.compile(rb"^upgrade:", re.IGNORECASE | re.MULTILINE)
EMPTY = re.compile(rb"HTTP/1.1 (204|304) ")


class LossyProxy:
    """Listens on a port of its own before the server of an API; `with LossyProxy(url) as proxy:` connect to proxy.url."""

    def __init__(self, url: str, losing: str = "", times: int = 1, instead: int = 0) -> None:
        """With `losing` only requests lose answers whose `METHOD path` has that in it, reads too; each `times` of them.

        With `instead` the client gets an empty answer of this status in place of the lost one.
        """
        self.losing = losing
        self._times = times
        self._instead = f"HTTP/1.1 {instead} -\r\ncontent-length: 0\r\n\r\n".encode() if instead else b""
        self.lost: list[str] = []
        """What was done and never answered, as `METHOD path`."""
        self.asked: Counter[str] = Counter()
        """How often each `METHOD path` was asked for."""
        self._target = urlsplit(url)
        self._seen: Counter[bytes] = Counter()
        self._port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def url(self) -> str:
        """The API, through this proxy."""
        return f"http://127.0.0.1:{self._port}{self._target.path}"

    def __enter__(self) -> "LossyProxy":
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer, by a connection of its own to the server; False once the client's is over."""
        head, body = await message(reader)
        there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
        try:
            back.write(head + body)
            if UPGRADE.search(head):
                await asyncio.gather(pump(reader, back), pump(there, writer))
                return False
            answer = b"".join(await message(there))
        finally:
            back.close()
        if self._loses(head, body):
            answer = self._instead
        if not answer:
            return False
        writer.write(answer)
        await writer.drain()
        return True

    def _loses(self, head: bytes, body: bytes) -> bool:
        line = head.partition(b"\r\n")[0].rpartition(b" ")[0]
        self.asked[line.decode()] += 1
        reads = line.startswith((b"GET ", b"HEAD ")) or READS.search(line)
        if (self.losing.encode() not in line if self.losing else reads) or self._seen[line + body] == self._times:
            return False
        self._seen[line + body] += 1
        self.lost.append(line.decode())
        return True


async def message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of the next request or answer of a connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    if CHUNKED.search(head):
        return head, await chunks(reader)
    length = LENGTH.search(head)
    return head, await reader.readexactly(int(length[1])) if length and not EMPTY.match(head) else b""


async def chunks(reader: asyncio.StreamReader) -> bytes:
    """A body in chunks, as it was sent."""
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        body += line + await reader.readexactly(size + 2)
        if size == 0:
            return body


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction of a connection, as it is."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
