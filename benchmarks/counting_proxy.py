"""A loopback TCP proxy that counts the HTTP requests that pass through it, and those that the server failed."""

import asyncio
import re
import threading
from urllib.parse import urlsplit

REQUEST = re.compile(rb"(?:GET|POST|PATCH|PUT|DELETE) \S+ HTTP/1\.1\r\n")
FAILED = re.compile(rb"HTTP/1\.1 5\d\d ")


class CountingProxy:
    """Forwards a port of its own to a server on this machine, in a thread.

    `requests` counts what clients asked, `failed` the answers that say the server could not do it (a busy SQLite: 503).
    """

    def __init__(self, url: str) -> None:
        self.requests = 0
        self.failed = 0
        self.port = 0
        self._target = urlsplit(url)
        self._ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        self._ready.wait()

    @property
    def url(self) -> str:
        """The server's URL, through this proxy."""
        return f"http://127.0.0.1:{self.port}{self._target.path}"

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await server.serve_forever()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(self._target.hostname, self._target.port)
        await asyncio.gather(self._pump(reader, there[1], counted=True), self._pump(there[0], writer, counted=False))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        try:
            while data := await reader.read(65536):
                if counted:
                    self.requests += len(REQUEST.findall(data))
                else:
                    self.failed += len(FAILED.findall(data))
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
