"""How long a submission is tried again."""

import asyncio
import pickle
from itertools import count

import pytest
from prefect.logging import disable_run_logger

from proctor.blocks.errors import BackendUnavailableError, TransientError
from proctor.tasks.jobs import _patiently


def submitted(within: float, failures: int) -> str:
    """The answer of a backend whose registry is away for so many submissions."""
    tries = count()

    def submit() -> str:
        if next(tries) < failures:
            raise TransientError("the registry does not answer", within)
        return "submitted"

    with disable_run_logger():
        return asyncio.run(_patiently(submit, 86400, "nothing could be submitted", "try again"))


def test_a_hiccup_is_survived() -> None:
    assert submitted(within=30, failures=1) == "submitted"


def test_what_does_not_pass_within_its_time_is_not_tried_for_a_day() -> None:
    with pytest.raises(
        BackendUnavailableError, match=r"^nothing could be submitted for 2 s: the registry.*; try again$"
    ):
        submitted(within=2, failures=1000)


def test_an_error_with_its_limit_travels_between_processes() -> None:
    again = pickle.loads(pickle.dumps(TransientError("away", within=2)))
    assert (str(again), again.within) == ("away", 2)
