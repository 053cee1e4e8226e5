"""How tests wait for what has to come."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 240.0
"""Seconds until a test gives up on what has to come: no bound of the product's, and enough while other tests keep both cores
busy. A test that waits for less than that is about that time."""


def wait_for(what: Callable[[], T], seconds: float = PATIENCE, pause: float = 0.3) -> T:
    """The first true answer within that time; AssertionError otherwise."""
    deadline = time.monotonic() + seconds
    while True:
        answer = what()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"it did not happen within {seconds:g} s; last answer: {answer!r}"
        time.sleep(pause)


def wait_closely(what: Callable[[], T], seconds: float = PATIENCE) -> T:
    """The same for what costs next to nothing to ask: fifty times a second."""
    return wait_for(what, seconds, 0.02)
