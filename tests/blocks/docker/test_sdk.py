"""The Docker SDK in a process of many threads."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

CODE = """
import sys, threading
from proctor.blocks.docker.engine import connect, engine_errors
from proctor.blocks.errors import TransientError
sys.setswitchinterval(1e-5)
start, wrong = threading.Barrier(8), []
def ask(number):
    start.wait()
    try:
        if number % 2:
            connect(f"unix:///nowhere{number}")
        with engine_errors():
            pass
    except TransientError:
        pass
    except Exception as error:
        wrong.append(repr(error))
threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
for each in threads: each.start()
for each in threads: each.join()
sys.exit("; ".join(wrong) or 0)
"""


def test_threads_that_use_it_for_the_first_time_at_once_find_all_of_it() -> None:
    for _ in range(6):
        done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
