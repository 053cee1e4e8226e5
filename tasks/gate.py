"""A start gate: SQLite bears one new flow run at a time, however many wait afterwards."""

import asyncio


class StartGate:
    """Lets one after the other in; who is in leaves as soon as its run exists."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(1)
        self._inside: set[str] = set()

    async def enter(self, name: str) -> None:
        """Wait for the turn; first come, first served."""
        await self._free.acquire()
        self._inside.add(name)

    def leave(self, name: str) -> None:
        """Let the next one in; saying it twice does no harm."""
        if name in self._inside:
            self._inside.remove(name)
            self._free.release()
