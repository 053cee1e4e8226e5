"""Asking for flow runs page by page without losing one. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

PAGE = 200
"""Flow runs that one answer of the API holds at most."""


def behind(wanted: Mapping[str, Any], read: Sequence[tuple[str, datetime | None]]) -> dict[str, Any]:
    """The filter for the flow runs that come after those that were `read` (id and expected start), the latest first.

    An offset would skip runs: the server sorts by that time alone, so equal ones may change places from page to page, and a
    run that leaves the filter meanwhile moves all others up.
    """
    last = read[-1][1]
    equal = [ident for ident, time in read if time == last]
    times = {**wanted.get("expected_start_time", {}), "before_": last and last.isoformat()}
    return {**wanted, "expected_start_time": times, "id": {**wanted.get("id", {}), "not_any_": equal}}
