"""A schedule as a team uses one: a file's name, a time zone, a limit; fired by a real server, run by a real worker."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.flows.stack import Run, Stack
from tests.flows.test_evaluate import config
from tests.waiting import wait_for

pytestmark = pytest.mark.live


def written(tmp_path: Path, **execution: Any) -> Path:
    path = tmp_path / "nightly.yaml"
    content = config(Path("results"), "mmath_en", "mmath_zh", **execution)
    path.write_text(yaml.safe_dump({**content, "name": "nightly"}))
    return path


def runs_of(stack: Stack, deployment: str) -> list[dict[str, Any]]:
    order = "EXPECTED_START_TIME_ASC"
    return stack.filter("/flow_runs/filter", deployments={"id": {"any_": [deployment]}}, sort=order)


def nightly(stack: Stack, name: str, strategy: str, file: Path, **schedule: Any) -> str:
    """A copy of the shipped deployment that is switched on; the answer is its id."""
    wanted = {"file": str(file), "overrides": ["execution.score=0.75"], "tasks": ["mmath_en"]}
    return switched_on(stack, name, strategy, wanted, **schedule)


def switched_on(stack: Stack, name: str, strategy: str, wanted: dict[str, Any], **schedule: Any) -> str:
    """The same for any named config."""
    shipped = stack.get("/deployments/name/evaluate/nightly")
    same = ("flow_id", "entrypoint", "work_pool_name", "job_variables", "tags", "parameter_openapi_schema")
    body = {key: shipped[key] for key in same} | {"name": name, "enforce_parameter_schema": True}
    body["parameters"] = {"config": wanted}
    body |= {"concurrency_limit": 1, "concurrency_options": {"collision_strategy": strategy}}
    body["schedules"] = [{"schedule": schedule, "active": True}] if schedule else []
    return str(stack.post("/deployments/", body).raise_for_status().json()["id"])


def test_the_shipped_nightly_waits_to_be_switched_on(stack: Stack) -> None:
    shipped = stack.get("/deployments/name/evaluate/nightly")
    (schedule,) = shipped["schedules"]
    assert schedule["schedule"] == {"cron": "0 2 * * *", "timezone": "Europe/Berlin", "day_or": True}
    assert schedule["active"] is False
    assert shipped["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"


UPKEEP = {"reconcile": 600, "reap": 3600}


def made_anew(stack: Stack, *, scheduled: bool) -> None:
    """The deployments of the upkeep; one that is there keeps its schedule as it was switched."""
    for name in UPKEEP:
        stack.delete(f"/deployments/{stack.get(f'/deployments/name/{name}/machine')['id']}")
    stack.set_up(scheduled=scheduled)


def test_the_shipped_upkeep_is_switched_on(stack: Stack) -> None:
    made_anew(stack, scheduled=True)
    try:
        for name, every in UPKEEP.items():
            (schedule,) = stack.get(f"/deployments/name/{name}/machine")["schedules"]
            assert (schedule["active"], schedule["schedule"]["interval"]) == (True, every)
    finally:
        made_anew(stack, scheduled=False)


YEAR = 2035
"""So far away that no worker takes any of these runs."""


@pytest.mark.parametrize(
    ("wanted", "days", "expected"),
    [
        # Berlin has no 02:00 on the first of these mornings, and two on the second: it is one run every night
        ({}, ("03-24", "03-28"), ["03-24 01:00", "03-25 00:00", "03-26 00:00", "03-27 00:00", "03-28 00:00"]),
        ({}, ("10-27", "10-31"), ["10-27 00:00", "10-28 00:00", "10-29 01:00", "10-30 01:00"]),
        (
            {"cron": "30 22 * * 1-5", "timezone": "America/New_York"},
            ("03-09", "03-15"),
            ["03-09 03:30", "03-10 03:30", "03-13 02:30", "03-14 02:30"],
        ),
    ],
    ids=["shipped, spring", "shipped, autumn", "another zone"],
)
def test_a_schedule_keeps_to_the_clock_of_its_time_zone(
    stack: Stack, tmp_path: Path, wanted: dict[str, str], days: tuple[str, str], expected: list[str]
) -> None:
    (shipped,) = stack.get("/deployments/name/evaluate/nightly")["schedules"]
    deployment = nightly(stack, f"zone-{days[0]}", "CANCEL_NEW", tmp_path / "c.yaml", **(shipped["schedule"] | wanted))
    try:
        first, last = (f"{YEAR}-{day}T00:00:00+00:00" for day in days)
        span = {"start_time": first, "end_time": last, "min_runs": 10}
        stack.post(f"/deployments/{deployment}/schedule", span).raise_for_status()
        due = [each["expected_start_time"] for each in runs_of(stack, deployment)]
    finally:
        stack.delete(f"/deployments/{deployment}")
    times = [datetime.fromisoformat(each).astimezone(UTC) for each in due]
    assert [f"{each:%m-%d %H:%M}" for each in times if each.year == YEAR] == expected


def test_a_schedule_fires_and_keeps_the_config_that_it_read(stack: Stack, tmp_path: Path) -> None:
    file = written(tmp_path, step_seconds=0.2)
    deployment = nightly(stack, "scheduled", "CANCEL_NEW", file, cron="* * * * *", timezone="Europe/Berlin")
    try:
        first = wait_for(lambda: runs_of(stack, deployment))[0]
        run = Run(stack, first["id"])
        assert run.until() == "Completed", run.message
    finally:
        assert stack.get(f"/deployments/{deployment}")
        stack.delete(f"/deployments/{deployment}")
    assert first["auto_scheduled"] is True
    assert run.labels["proctor.user"] == "schedule CronSchedule", "its slug, where it has one"
    assert run.folder.parent == tmp_path / "results"
    (scored,) = json.loads((run.folder / "results.json").read_text())["benchmarks"]
    assert (scored["benchmark"], scored["scores"][0]["value"]) == ("mmath.mmath_en", 0.75)
    kept = run.record["parameters"]["config"]
    assert (kept["name"], kept["execution"]["score"]) == ("nightly", 0.75)
    assert run.record["name"] == f"nightly on simulated {run.id}"


@pytest.mark.parametrize(("strategy", "ends"), [("CANCEL_NEW", "Cancelled"), ("ENQUEUE", "Completed")])
def test_a_late_run_is_skipped_or_waits(stack: Stack, tmp_path: Path, strategy: str, ends: str) -> None:
    deployment = nightly(stack, f"late-{strategy}", strategy, written(tmp_path, step_seconds=30))
    path = f"/deployments/{deployment}/create_flow_run"
    ids = []
    for _ in range(2):
        ids.append(stack.post(path, {"state": {"type": "SCHEDULED"}}).raise_for_status().json()["id"])
        wait_for(lambda: Run(stack, ids[0]).state == "Running")
    first, second = (Run(stack, each) for each in ids)
    assert second.until("Cancelled", "AwaitingConcurrencySlot", "Completed") != "Completed"
    assert first.until() == "Completed", first.message
    assert second.until("Cancelled", "Completed") == ends
    stack.delete(f"/deployments/{deployment}")


def test_a_mistake_in_the_file_is_the_message(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("nightly", {"file": str(tmp_path / "none.yaml")})
    assert run.until() == "Failed"
    assert "none.yaml" in run.message
    assert stack.create("nightly", {"fiel": "x"}).status_code == 409
