"""The end of a task or flow as a value."""

from collections.abc import Awaitable
from typing import Any, cast

from prefect.client.schemas.objects import State


async def end_of(call: Any) -> State[Any]:
    """The state that an async call with `return_state=True` ended in (Prefect's own types say it cannot be awaited)."""
    return await cast(Awaitable[State[Any]], call)
