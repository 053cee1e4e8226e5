"""A state store with ten thousand evaluations: what is asked for is found, and nothing else, in few requests."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.counting_proxy import CountingProxy
from benchmarks.store import REQUESTS
from proctor.cli.address import Address
from proctor.cli.api import PrefectApi
from proctor.cli.evaluations import find
from tests.cli.crowd import Store, crowd, one
from tests.cli.machine import Machine

pytestmark = pytest.mark.live

COPIES = 10_000


@pytest.fixture
def api(machine: Machine) -> PrefectApi:
    return PrefectApi(Address(machine.api_url, "test"))


@pytest.fixture
def source(api: PrefectApi, finished: str) -> str:
    """The flow run that others are copied from."""
    return find(api, finished).flow_run_id


@pytest.fixture
def store(machine: Machine, source: str) -> Iterator[Store]:
    """A state store with ten thousand more evaluations, all created at the same moment."""
    store = Store(machine.home)
    crowd(store, source, COPIES)
    yield store
    store.delete("crowd %")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ls runs", ["ls", "runs"]),
        ("status", ["status", "f0001388"]),
        ("status", ["status", "f000271"]),
        ("info", ["info", "f0001388"]),
        ("info", ["info", "f0001388", "--json"]),
    ],
)
def test_looking_costs_a_few_requests_whatever_the_store_holds(
    store: Store, machine: Machine, name: str, arguments: list[str]
) -> None:
    proxy = CountingProxy(machine.api_url)
    done = machine.run(*arguments, PREFECT_API_URL=proxy.url)
    assert done.returncode == 0, done.stderr
    assert 0 < proxy.requests <= REQUESTS[name]


def test_an_id_is_found_among_ten_thousand(api: PrefectApi, store: Store, machine: Machine, finished: str) -> None:
    assert find(api, "f0001388").name == "crowd simulated f0001388"
    assert find(api, finished).id == finished
    several = machine.run("info", "f0001")
    assert several.returncode == 2
    assert several.stderr.startswith("proctor: 'f0001' means more than 5 evaluations: ")


def test_a_prefix_that_stands_in_every_name_finds_its_evaluation_or_says_which(
    store: Store, machine: Machine, source: str
) -> None:
    one(store, source, "ed000001")
    assert machine.json("info", "ed")["id"] == "ed000001"
    one(store, source, "ed000002", name="prickly-crab", state_type="SCHEDULED", start_time=None)
    try:
        for command in ("info", "kill"):
            done = machine.run(command, "ed")
            assert done.returncode == 2
            assert "'ed' means 2 evaluations: " in done.stderr
            assert "ed000001 (crowd simulated ed000001)" in done.stderr
            assert "ed000002 (prickly-crab)" in done.stderr
    finally:
        store.delete("prickly-crab")


def test_an_evaluation_that_waits_behind_many_is_found(
    api: PrefectApi, store: Store, machine: Machine, source: str
) -> None:
    ident = "n + 3758096384"
    store.copy(
        source,
        450,
        id=f"printf('%08x-0000-4000-8000-%012x', n, {ident})",
        name="'crowd waits'",
        tags="json_array('proctor:evaluation')",
        state_type="'SCHEDULED'",
        start_time="null",
    )
    for wanted in ("e0000001", "e00000ff", "e00001c2"):
        assert find(api, wanted).id == wanted
    assert machine.run("info", "e0000").returncode == 2


def test_benchmarks_behind_the_first_page_are_known(store: Store, api: PrefectApi, machine: Machine) -> None:
    evaluation = machine.detached("execution.step_seconds=0.2")
    assert machine.run("status", evaluation, "--watch").returncode == 0
    wanted = {"tags": {"all_": ["proctor:benchmark", f"evaluation:{evaluation}"]}}
    child = api.post("/flow_runs/filter", flow_runs=wanted, limit=1)[0]["id"]
    store.copy(
        child,
        300,
        id="printf('%08x-0000-4000-8000-%012x', n, n + 3489660928)",
        name="printf('crowd many_%d', n)",
        parameters="json_set(parameters, '$.step', printf('many_%d.%d', n, n))",
    )
    for number in (1, 150, 300):
        done = machine.run("kill", f"{evaluation}.many_{number}")
        assert (done.returncode, done.stdout) == (0, f"crowd many_{number} is already Completed\n"), done.stderr


def test_the_future_of_a_schedule_hides_no_evaluation(store: Store, machine: Machine, source: str) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%d %H:%M:%S.%f")
    soon = (datetime.now(UTC) + timedelta(minutes=2)).strftime("%Y-%m-%d %H:%M:%S.%f")
    waits = {"state_type": "SCHEDULED", "state_name": "Scheduled", "start_time": None, "end_time": None}
    file = '{"config": {"file": "nightly.yaml"}}'
    tags = '["proctor:evaluation"]'
    for number in range(30):
        due = soon if number < 3 else tomorrow
        planned = {**waits, "auto_scheduled": 1, "parameters": file, "expected_start_time": due}
        one(store, source, f"d00000{number:02}", **planned)
    by_hand = {**waits, "parameters": file, "tags": tags}
    one(store, source, "d1000000", **by_hand)
    listed = [run["id"] for run in machine.json("ls", "runs", "--limit", "20")]
    assert len(listed) == 20
    assert not [each for each in listed if each.startswith("d00000")]
    scheduled = machine.json("ls", "runs", "--limit", "40", "--state", "scheduled")
    assert {run["id"] for run in scheduled} == {"d1000000", *(f"d00000{number:02}" for number in range(30))}
    assert {run["backend"] for run in scheduled} == {None}
    line = next(
        each for each in machine.run("ls", "runs", "--state", "scheduled").stdout.splitlines() if "d0000004" in each
    )
    assert line.split("SCHEDULED")[1].split()[:2] == ["–", "–"]
    assert tomorrow[:10] in line
