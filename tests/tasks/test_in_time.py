"""A blocking call that hangs holds up neither its caller nor the end of the process."""

import asyncio
import subprocess
import sys
import time

import pytest

from proctor.configs.host_env import current_evaluation, on_behalf_of
from proctor.tasks.in_time import in_time

HANGS = """
import asyncio, time
from proctor.tasks.in_time import in_time
async def main():
    try:
        await in_time(lambda: time.sleep(600), 0.2)
    except TimeoutError:
        print("no answer")
asyncio.run(main())
"""


def test_a_call_that_hangs_is_left_behind() -> None:
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "no answer\n"
    assert time.monotonic() - begun < 100


def test_answers_and_errors_come_back_from_inside_the_evaluation() -> None:
    with on_behalf_of("3f2a91bc"):
        assert asyncio.run(in_time(current_evaluation.get, 60)) == "3f2a91bc"
    with pytest.raises(ZeroDivisionError):
        asyncio.run(in_time(lambda: 1 // 0, 60))
