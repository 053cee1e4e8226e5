"""A TCP proxy on loopback that behaves like a bad network: slow, cut after so many bytes, silent, or closed."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any


class WanProxy:
    """Listens on `port` and forwards to 127.0.0.1:`target`; change the attributes at any time.

    with WanProxy(2222) as proxy: connect to proxy.port
    """

    def __init__(self, target: int, delay: float = 0.0) -> None:
        self.target = target
        self.delay = delay
        """Seconds that each byte travels in one direction; a round trip takes twice that."""
        self.cut_up: int | None = None
        """Bytes towards the target until every connection is reset; None for never."""
        self.cut_down: int | None = None
        self.gently = False
        """What is cut is closed, as by a program that ends, and not reset."""
        self.silent = False
        """Connections stay open and nothing arrives any more."""
        self.refuse = False
        self.connections = 0
        self.up = 0
        self.down = 0
        self.port = 0
        self.writers: set[asyncio.StreamWriter] = set()
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def __enter__(self) -> "WanProxy":
        self.thread.start()
        self.ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)

    def cut(self) -> None:
        """Reset every open connection now."""
        self.call(self.reset_all)

    def call(self, function: Callable[[], None]) -> None:
        """Run something in the proxy's own thread and wait for it."""
        done = threading.Event()
        self.loop.call_soon_threadsafe(function)
        self.loop.call_soon_threadsafe(done.set)
        done.wait(5)

    def reset_all(self) -> None:
        """RST, as a firewall that forgot the connection."""
        for writer in list(self.writers):
            if self.gently:
                writer.close()
                continue
            sock: Any = writer.get_extra_info("socket")
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def serve(self) -> None:
        """The proxy's thread."""
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self.accept, "127.0.0.1", self.port))
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        self.loop.run_forever()
        self.reset_all()
        server.close()
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.loop.close()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        if self.refuse:
            writer.transport.abort()
            return
        self.connections += 1
        await asyncio.sleep(2 * self.delay)
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        for each in (writer, back):
            each.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.writers |= {writer, back}
        try:
            await asyncio.gather(self.pump(reader, back, "up"), self.pump(there, writer, "down"))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self.writers -= {writer, back}
            writer.close()
            back.close()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        """One direction; never reorders."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1000)

        async def read() -> None:
            data = b"-"
            while data:
                data = await reader.read(1 << 16)
                await queue.put((self.loop.time() + self.delay, data))

        reading = asyncio.create_task(read())
        try:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - self.loop.time()))
                while self.silent:
                    await asyncio.sleep(0.05)
                if not data:
                    writer.write_eof()
                    return
                writer.write(self.counted(data, way))
                await writer.drain()
        finally:
            reading.cancel()

    def counted(self, data: bytes, way: str) -> bytes:
        """Count these bytes; at the limit, pass the allowed part on and reset everything right behind it."""
        so_far, limit = (self.up, self.cut_up) if way == "up" else (self.down, self.cut_down)
        if limit is not None and so_far + len(data) > limit:
            self.loop.call_later(0.02, self.reset_all)
            data = data[: max(0, limit - so_far)]
        if way == "up":
            self.up += len(data)
        else:
            self.down += len(data)
        return data
