"""What `reconcile` decides about an evaluation's flow run."""

import os
import socket
import subprocess
import sys

import psutil
import pytest

from proctor.tasks.engine_lock import HOSTS_OWN, engine_name, engine_place, on_this_machine, pid_namespace
from proctor.tasks.mending import Cure, Found, cure, pause_after


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Found("RUNNING", 3600, "alive"), "leave alone"),
        (Found("RUNNING", 1, "dead"), "leave alone"),
        (Found("RUNNING", 20, "dead"), "bring back"),
        (Found("RUNNING", 86400, "elsewhere"), "leave alone"),
        (Found("RUNNING", 86400, "elsewhere", silent=True), "bring back"),
        (Found("RUNNING", 86400, "alive", silent=True), "leave alone"),
        (Found("RUNNING", 300, "elsewhere", deployed=False), "leave alone"),
        (Found("RUNNING", 300, "unnamed", deployed=False), "leave alone"),
        (Found("RUNNING", 30, "unnamed"), "leave alone"),
        (Found("RUNNING", 300, "unnamed"), "bring back"),
        (Found("RUNNING", 300, "dead", deployed=False), "call crashed"),
        (Found("RUNNING", 3, "dead", deployed=False), "leave alone"),
        (Found("CRASHED", 300, "dead", deployed=False), "leave alone"),
        (Found("PENDING", 20, "unnamed", name="Preparing"), "leave alone"),
        (Found("PENDING", 300, "unnamed", name="Preparing"), "give up"),
        (Found("PENDING", 20, "unnamed"), "leave alone"),
        (Found("PENDING", 300, "dead"), "bring back"),
        (Found("PENDING", 20, "dead"), "leave alone"),
        (Found("CRASHED", 5, "dead"), "leave alone"),
        (Found("CRASHED", 60, "dead"), "bring back"),
        (Found("CRASHED", 60, "alive"), "leave alone"),
        (Found("CRASHED", 60, "dead", runs=21), "leave alone"),
        (Found("CANCELLING", 10, "alive"), "leave alone"),
        (Found("CANCELLING", 60, "alive"), "finish cancelling"),
        (Found("CANCELLING", 1, "dead"), "finish cancelling"),
        (Found("CANCELLED", 60, "dead", jobs=True), "release"),
        (Found("CANCELLED", 60, "dead", jobs=True, released=True), "leave alone"),
        (Found("CANCELLED", 60, "dead"), "leave alone"),
        (Found("SCHEDULED", 9999, "dead"), "leave alone"),
        (Found("COMPLETED", 9999, "dead", jobs=True), "leave alone"),
    ],
)
def test_cure(found: Found, expected: Cure) -> None:
    assert cure(found) == expected


def test_an_evaluation_that_waits_for_its_machine_is_tried_less_and_less_often() -> None:
    assert [pause_after(times) for times in (0, 1, 2, 3, 5000)] == [15, 30, 60, 120, 120]


def test_an_engine_is_known_by_host_pid_and_start() -> None:
    assert engine_place(engine_name()) == "alive"
    assert engine_place("") == "unnamed"
    assert engine_place("another-host 1 0") == "elsewhere"
    assert engine_place(f"{engine_name()}1") == "elsewhere", (
        "another container on this host, which sees other processes"
    )
    assert engine_place(f"{socket.gethostname()} {os.getpid()} 1000") == "dead", "the pid belongs to a later process"
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = f"{socket.gethostname()} {child.pid} {psutil.Process(child.pid).create_time():.0f}"
    assert engine_place(name) == "alive"
    child.kill()
    child.wait()
    assert engine_place(name) == "dead"


def test_jobs_are_on_this_machine_for_a_container_made_anew_but_not_for_one_with_the_machine_s_name() -> None:
    here, inside = f"{socket.gethostname()} 12 1000", pid_namespace() != HOSTS_OWN
    assert on_this_machine(here)
    assert on_this_machine(engine_name())
    assert on_this_machine(f"{here} 4026599999") == inside
    assert on_this_machine(f"{here} {HOSTS_OWN}") != inside
    assert not on_this_machine("another-host 12 1000")
