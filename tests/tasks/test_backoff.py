"""Pauses before a server that was away is asked again."""

import pytest

from proctor.tasks.backoff import bounded


@pytest.mark.parametrize("longest", [10.0, 30.0])
def test_pauses_grow_up_to_a_bound(longest: float) -> None:
    pauses = [bounded(2.0**tries, longest=longest) for tries in range(1, 12)]
    assert pauses[0] < 3
    assert max(pauses) <= longest * 1.3
    assert min(pauses[-4:]) >= longest * 0.7
