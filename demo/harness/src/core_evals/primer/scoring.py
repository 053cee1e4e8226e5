"""How an answer is judged and what is reported of many; pure."""

import math
import re
import unicodedata
from collections.abc import Sequence


def words(text: str) -> list[str]:
    """The words of a text without case, accents and punctuation."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return re.findall(r"[a-z0-9]+", "".join(char for char in plain if not unicodedata.combining(char)))


def first_sentence(text: str) -> str:
    """What a model says first; what it goes on to say is not held against it, and not for it."""
    return re.split(r"\n|(?<=[^\W\d_][.!?])\s", text.strip(), maxsplit=1)[0]


def holds(answer: str, accepted: Sequence[str]) -> bool:
    """Whether the first sentence of the answer holds one of the accepted answers as whole words."""
    said = f" {' '.join(words(first_sentence(answer)))} "
    return any(f" {' '.join(words(one))} " in said for one in accepted)


def statistics(scores: Sequence[int]) -> dict[str, float]:
    """Count, mean, population deviation and standard error of 0/1 scores; raises ValueError when there are none."""
    if not scores:
        raise ValueError("no samples to score")
    count = len(scores)
    mean = sum(scores) / count
    variance = mean * (1 - mean)
    stderr = math.sqrt(variance / (count - 1)) if count > 1 else 0.0
    return {"count": count, "mean": mean, "stddev": math.sqrt(variance), "stderr": stderr}
