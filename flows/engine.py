"""`python -m proctor.flows.engine`: the process that drives one flow run, started by the worker of this machine.

Prefect's worker otherwise starts a supervisor that starts the engine, and each of them imports Prefect: 2 s more until the
first job is submitted. The supervisor prepares code that is pulled from somewhere; ours is installed.
"""

import os
import runpy
from contextlib import suppress

if __name__ == "__main__":
    with suppress(OSError):
        os.setsid()  # as the supervisor does: a Ctrl-C that ends the worker does not end the run
    from proctor.tasks.backoff import bound_pauses  # imports Prefect, which takes a second

    bound_pauses()
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
