"""What `make bench` says about evaluations that waited."""

from benchmarks.queueing import out_of_order, overlap


def test_the_most_at_the_same_moment() -> None:
    assert overlap([("1", "3"), ("2", "4"), ("3", "5")]) == 2
    assert overlap([("1", "9"), ("2", "9"), ("3", "9")]) == 3
    assert overlap([]) == 0


def test_those_that_overtook() -> None:
    assert out_of_order(["1", "2", "3", "4"], 1) == 0
    assert out_of_order(["2", "1", "4", "3"], 2) == 0, "taken in the same moment"
    assert out_of_order(["2", "1", "4", "3"], 1) == 2
    assert out_of_order(["5", "6", "7", "1"], 2) == 1
