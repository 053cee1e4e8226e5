"""This machine's own stack, brought up once by `proctor up` for all tests of the command line."""

from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from subprocess import CompletedProcess
from threading import Thread

import pytest

from tests.cli.machine import Machine
from tests.fake_harness.fake_harness import Handler


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """A model endpoint that answers."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
    server.shutdown()


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine whose stack two commands brought up at the same moment."""
    machine = Machine(tmp_path_factory.mktemp("home") / "proctor", tmp_path_factory.mktemp("work"))
    both = [machine.start("up"), machine.start("up")]
    try:
        for process in both:
            out, err = process.communicate(timeout=240)
            assert process.returncode == 0, err
            machine.first.append(CompletedProcess(process.args, 0, out, err))
        yield machine
    finally:
        machine.run("down")


@pytest.fixture(scope="session")
def finished(machine: Machine) -> str:
    """An evaluation that ended well."""
    evaluation = machine.detached("execution.step_seconds=0.2")
    assert machine.run("status", evaluation, "--watch").returncode == 0
    return evaluation
