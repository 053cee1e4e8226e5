"""Blocking calls that may hang, in threads that nobody waits for: not the caller, and not the process when it ends."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import TypeVar

T = TypeVar("T")


async def in_time(what: Callable[[], T], seconds: float) -> T:
    """The answer of a blocking call. Raises TimeoutError when there is none by then; the call itself may go on."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()
    inside = copy_context()

    def settle(how: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(lambda: None if answer.done() else how())

    def work() -> None:
        try:
            found = inside.run(what)
        except BaseException as error:  # noqa: BLE001 whatever it is belongs to the caller
            settle(partial(answer.set_exception, error))
        else:
            settle(partial(answer.set_result, found))

    threading.Thread(target=work, daemon=True).start()
    return await asyncio.wait_for(answer, seconds)
