"""From the ends of the benchmarks to the end of their evaluation. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Ending = Literal["scored", "failed", "cancelled", "unavailable"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one benchmark of an evaluation ended, in words for a person."""

    benchmark: str
    ending: Ending
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an evaluation ended: type and name of its final state, and one sentence."""

    type: Literal["COMPLETED", "FAILED", "CANCELLED"]
    name: str
    message: str


def verdict(outcomes: Sequence[Outcome], *, cancelled: bool = False, trouble: str = "", remark: str = "") -> Verdict:
    """The end of an evaluation: Completed when every benchmark has its scores, else a list of those that have none.

    `trouble` is why the scores are nowhere, and makes it a failure; a `remark` is only added to the sentence.
    """
    missing = [outcome for outcome in outcomes if outcome.ending != "scored"]
    counts = f"{len(outcomes) - len(missing)} of {len(outcomes)} benchmarks have scores"
    listed = "; ".join(f"{each.benchmark} {_words(each)}" for each in missing)
    message = ". ".join(part for part in (counts, listed, trouble, remark) if part)
    if cancelled:
        return Verdict("CANCELLED", "Cancelled", message)
    if any(outcome.ending == "unavailable" for outcome in outcomes):
        return Verdict("FAILED", "Unavailable", message)
    if missing or trouble:
        return Verdict("FAILED", "Failed", message)
    return Verdict("COMPLETED", "Completed", message)


def _words(outcome: Outcome) -> str:
    first = outcome.reason.strip().split("\n", 1)[0]
    if outcome.ending == "cancelled":
        return f"was cancelled{first.partition(' was cancelled')[2]}"  # and why, where it was ended by us
    return f"failed: {first}" if outcome.ending == "failed" else f"is out of sight: {first}"
