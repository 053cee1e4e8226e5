"""The stand-in's jobs and logs, driven through the unmodified SDK."""

import time
from typing import Any

import pytest
import requests
from leptonai.api.v2 import APIClient

from tests.lepton.sdk import client, job, refused, state
from tests.lepton.service import Service
from tests.waiting import wait_closely

RUNS: list[tuple[str, float | None]] = [("Running", None)]
EXACTLY = ("alive_only", "archive_only", "alive_and_archive")


def test_a_job_goes_through_its_script_and_can_be_deleted(legacy: Service, lepton: APIClient) -> None:
    legacy.script("proctor-*", [("Queueing", None)])
    made = lepton.job.create(job("proctor-a-0", labels={"proctor.job": "a"}))
    key = made.metadata.id_
    assert key.startswith("proctor-a-0-") and len(key) == len("proctor-a-0-abcd")
    assert made.status.state.value == "Queueing" and lepton.job.get_replicas(key) == []
    legacy.script("proctor-*", [("Starting", 0.05), ("Running", None)])
    wait_closely(lambda: state(lepton, key) == "Running")
    (replica,) = lepton.job.get_replicas(key)
    assert replica.metadata.id_.startswith(f"{key}-0-")
    legacy.script("proctor-*", [("Completed", None)])
    done = lepton.job.get(key)
    assert (done.status.succeeded, done.status.failed, done.status.ready) == (1, 0, 0)
    assert done.spec.container.command == ["sh", "-c", "true"] and done.metadata.labels == {"proctor.job": "a"}
    assert lepton.job.delete(key) is True
    wait_closely(lambda: legacy.jobs == [])
    with refused(404):
        lepton.job.get(key)
    with refused(404):
        lepton.job.delete(key)


def test_a_name_may_stand_twice_and_lists_are_asked_as_the_sdk_does(legacy: Service, lepton: APIClient) -> None:
    legacy.script("*", RUNS)
    first = lepton.job.create(job("proctor-a-0", labels={"k": "1", "z": "2"})).metadata.id_
    second = lepton.job.create(job("proctor-a-0")).metadata.id_
    third = lepton.job.create(job("other")).metadata.id_

    def ids(**query: Any) -> list[str]:
        return [each.metadata.id_ for each in lepton.job.list_all(**query)]

    assert first != second and ids() == [third, second, first]
    assert ids(page=1, page_size=2) == [third, second] and ids(page=2, page_size=2) == [first]
    assert ids(page=3, page_size=2) == []
    assert ids(q="roctor-a") == [second, first]
    assert ids(query="k=1") == ids(query="k") == ids(query="k=1,z=2") == [first]
    assert ids(query="k=2") == ids(query="k,x") == []
    assert ids(status=["Running", "Failed"]) == [third, second, first] and ids(status=["Failed"]) == []
    assert [each["metadata"]["id"] for each in legacy.jobs] == [first, second, third]


def test_labels_may_be_dropped_and_lists_may_lag() -> None:
    with Service(persist_labels=False, list_lag=60) as legacy:
        lepton = client(legacy)
        key = lepton.job.create(job(labels={"k": "1"})).metadata.id_
        assert lepton.job.list_all() == [] and lepton.job.get(key).metadata.labels is None
        legacy.world.list_lag = 0
        assert [each.metadata.id_ for each in lepton.job.list_all()] == [key]
        assert lepton.job.list_all(query="k=1") == []


def test_an_archived_job_is_seen_only_by_who_asks_for_it(legacy: Service, lepton: APIClient) -> None:
    legacy.script("*", [("Failed", None)])
    key = lepton.job.create(job()).metadata.id_
    legacy.archive(key)
    assert {mode: len(lepton.job.list_all(job_query_mode=mode)) for mode in EXACTLY} == dict(
        zip(EXACTLY, (0, 1, 1), strict=True)
    )
    found = lepton.job.get(key)
    assert (found.status.state.value, found.status.failed) == ("Archived", 1)
    with refused(404):
        lepton.job.get(key, job_query_mode="alive_only")
    for mode in EXACTLY:
        with refused(404):
            lepton.job.delete(key, job_query_mode=mode)


def test_the_time_to_live_archives_a_job(legacy: Service, lepton: APIClient) -> None:
    legacy.script("*", [("Running", 0.1), ("Completed", None)])
    key = lepton.job.create(job(ttl_seconds_after_finished=0)).metadata.id_
    wait_closely(lambda: state(lepton, key) == "Archived")
    assert lepton.job.get(key).status.succeeded == 1


def test_a_job_is_stopped_and_started_again(legacy: Service, lepton: APIClient) -> None:
    legacy.script("*", RUNS)
    key = lepton.job.create(job()).metadata.id_
    lepton.job.update(key, {"spec": {"stopped": True}})
    wait_closely(lambda: state(lepton, key) == "Stopped")
    with refused(400, "no valid field to update"):
        lepton.job.update(key, {"spec": {"stopped": True}})
    lepton.job.update(key, {"spec": {"stopped": False}})
    assert state(lepton, key) == "Running"


def test_logs_are_followed_live_and_asked_for_later(legacy: Service, lepton: APIClient) -> None:
    legacy.script("*", RUNS)
    key = lepton.job.create(job()).metadata.id_
    began = time.time_ns() - 10**9
    legacy.write_log(key, "eins\nzwei ü\n")
    (replica,) = lepton.job.get_replicas(key)
    stream = lepton.job.get_log(key, replica, timeout=5)
    text = next(stream)
    legacy.write_log(key, "drei\n")
    legacy.script("*", [("Completed", None)])
    assert text + "".join(stream) == "eins\nzwei ü\ndrei\n"
    until = time.time_ns() + 10**9

    def lines(**query: Any) -> list[str]:
        answer = lepton.log.get_log(name_or_job=key, start=began, end=until, **query)
        return [line for each in answer["data"]["result"] for _, line in each["values"]]

    assert lines(direction="forward") == ["eins", "zwei ü", "drei"] and lines(limit=1) == ["drei"]
    assert lines(direction="forward", limit=2) == ["eins", "zwei ü"] and lines(q="wei") == ["zwei ü"]
    rows = lepton.log.get_log(name_or_job=key, start=began, end=until)["data"]["result"][0]["values"]
    second = int(rows[1][0])
    assert lepton.log.get_log(name_or_job=key, start=second - 1, end=second)["data"]["result"] == []
    answer = lepton.log.get_log(name_or_job=key, start=second, end=second + 1)
    assert [line for _, line in answer["data"]["result"][0]["values"]] == ["zwei ü"]
    assert lepton.log.get_log(name_or_job=key)["data"]["result"][0]["stream"] == {"replica": replica.metadata.id_}
    lepton.job.delete(key)
    wait_closely(lambda: legacy.jobs == [])
    assert len(lines()) == 3


def test_a_log_that_is_not_collected_has_no_history(legacy: Service, lepton: APIClient) -> None:
    key = lepton.job.create(job(log=None)).metadata.id_
    legacy.write_log(key, "gone\n")
    assert lepton.log.get_log(name_or_job=key)["data"]["result"] == []


def test_a_live_log_may_split_letters_and_break_off(legacy: Service, lepton: APIClient) -> None:
    legacy.script("*", RUNS)
    key = lepton.job.create(job()).metadata.id_
    (replica,) = lepton.job.get_replicas(key)
    legacy.write_log(key, "äöü äöü äöü\n")
    legacy.world.chunk = 1
    with pytest.raises(UnicodeDecodeError):
        list(lepton.job.get_log(key, replica, timeout=2))
    legacy.world.chunk = 2
    legacy.fault("GET", "/jobs/*/log", cut=4)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        list(lepton.job.get_log(key, replica, timeout=2))
    legacy.fault("GET", "/jobs/*/log", cut=4, quiet=True)
    assert "".join(lepton.job.get_log(key, replica, timeout=2)) == "äö"
    legacy.world.chunk = None
    with pytest.raises(requests.ConnectionError, match="timed out"):
        list(lepton.job.get_log(key, replica, timeout=0.2))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resource_shape": "gpu.9xb9"}, "shape gpu.9xb9 is not available"),
        ({"resource_shape": None}, "shape"),
        ({"affinity": {"allowed_dedicated_node_groups": ["h200-pool"]}}, "node group h200-pool not found"),
        (
            {"resource_shape": "gpu.1xh200", "affinity": {"allowed_dedicated_node_groups": ["cpu-pool-ab12cd34"]}},
            "shape gpu.1xh200 is not available",
        ),
        ({"envs": [{"name": "A", "value_from": {"secret_name_ref": "NONE"}}]}, "secret NONE not found"),
        ({"envs": [{"name": "LEPTON_A", "value": "1"}]}, "LEPTON_A"),
        ({"mounts": [{"from": "node-nfs:none", "mount_path": "/data"}]}, "volume node-nfs:none not found"),
        ({"reservation_config": {"reservation_id": "none"}}, "reservation none not found"),
        ({"queue_config": {"priority_class": "urgent"}}, "priority class urgent"),
        ({"container": {"command": ["true"]}}, "image is required"),
    ],
)
def test_a_job_that_cannot_be_is_refused(
    legacy: Service, lepton: APIClient, change: dict[str, Any], words: str
) -> None:
    with refused(400, words) as caught:
        lepton.job.create(job(**change))
    assert set(caught.value.response.json()) == {"code", "message"} and legacy.jobs == []


def test_an_image_that_cannot_be_pulled_never_starts(legacy: Service, lepton: APIClient) -> None:
    key = lepton.job.create(job(image_pull_secrets=["none"])).metadata.id_
    wait_closely(lambda: state(lepton, key) == "Starting")
    time.sleep(0.3)
    assert state(lepton, key) == "Starting"
    assert "ImagePullBackOff" in {each.reason for each in lepton.job.get_events(key)}
    legacy.add_event(key, "OOMKilled")
    assert "OOMKilled" in {each.reason for each in lepton.job.get_events(key)}
