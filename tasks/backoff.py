"""How long Prefect's client waits before it asks a server again that was away."""

from functools import partial

from prefect.client import base
from prefect.utilities.math import clamped_poisson_interval

LONGEST = 30.0
"""Seconds on average, give or take the client's jitter of a fifth."""
DRAW = "clamped_poisson_interval"
"""The name by which the client draws a pause when the server has not said how long to wait."""


def bounded(average: float, clamping_factor: float = 0.3, *, longest: float = LONGEST) -> float:
    """A random pause around `average`, but never around more than `longest`."""
    return clamped_poisson_interval(min(average, longest), clamping_factor)


def bound_pauses(longest: float = LONGEST) -> None:
    """Let the clients of this process wait 2, 4, 8... seconds up to `longest`, and then that again and again.

    They double without an end (`prefect.client.base`) and no setting says where to stop: behind an outage of ten minutes
    worker and engines would sleep for up to eight more.
    """
    vars(base)[DRAW] = partial(bounded, longest=longest)
