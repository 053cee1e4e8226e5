"""How results come home: through a log or an object store, whole or not at all."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from proctor.blocks.errors import ResultError
from proctor.blocks.job import Container, EnvVar, JobHandle, JobState
from proctor.blocks.job_files import step_files
from proctor.blocks.lepton import connection, homecoming
from proctor.blocks.lepton.homecoming import assembled
from proctor.blocks.lepton.render import secret_of
from proctor.blocks.lepton.shares import job_name
from tests.engine import fake_harness_image
from tests.lepton.archives import lines
from tests.lepton.login import log_in
from tests.lepton.place import FAILS, RUNS, Place
from tests.lepton.service import Service
from tests.lepton.storage import Storage
from tests.waiting import wait_closely

PACKED = bytes(range(256)) * 40
BIG = "import random; (out / 'big').write_bytes(random.Random(1).randbytes(3 << 20))"


class TestLines:
    """Lines of a log become the bytes that they were, or an error that says why not."""

    def test_in_any_order_with_others_between_and_twice(self) -> None:
        shuffled = [*lines(PACKED), *lines(b"others", "job-1"), "an epoch took 3 s", *lines(PACKED)]
        random.Random(1).shuffle(shuffled)
        assert assembled("job-0", shuffled) == PACKED

    def test_a_missing_line(self) -> None:
        with pytest.raises(ResultError, match="1 of 14 lines with its results are missing"):
            assembled("job-0", lines(PACKED)[1:])

    def test_a_missing_end(self) -> None:
        with pytest.raises(ResultError, match=r"does not hold its results \(yet\)"):
            assembled("job-0", lines(PACKED)[:-1])

    def test_a_damaged_line(self) -> None:
        damaged = [lines(PACKED)[0][:-4] + "AAAA", *lines(PACKED)[1:]]
        with pytest.raises(ResultError, match="checksum does not fit"):
            assembled("job-0", damaged)


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A stand-in that really runs containers."""
    with Service(runner="docker", deletion=0.05) as service:
        log_in(monkeypatch, service)
        yield service


class Real(Place):
    """The fake harness in containers of the stand-in."""

    runs_code = True
    results = "/results"

    def container(self, *env: EnvVar) -> Container:
        return Container(image=fake_harness_image(), env=env)


def through_log(folder: Path, service: Service, **results: Any) -> Real:
    return Real(folder, service, results={"via": "log", **results})


@pytest.mark.live
class TestThroughTheLog:
    """Small results need nothing but the log."""

    def test_everything_comes_home_with_its_checksums(self, real: Service, tmp_path: Path) -> None:
        place = through_log(tmp_path, real)
        odd = """it's "ünï" $HOME"""
        (handle,) = place.submit(place.job(place.step("a.0", f"(out / {odd!r}).write_text('seen'); print('hello')")))
        assert place.wait(handle).state is JobState.COMPLETED
        folder = place.backend().fetch(handle, "a.0", tmp_path / "home")
        assert (folder / odd).read_text() == "seen"
        assert "results" in (folder / "results.yml").read_text()
        assert "hello" in (folder / "harness.log").read_text()
        shown = list(place.backend().logs(handle, "a.0", follow=False, tail=1000))
        assert "hello" in shown and not any("@proctor-" in line for line in shown)

    def test_a_line_that_is_late_is_waited_for(self, real: Service, tmp_path: Path) -> None:
        real.world.log_lag = 3600
        place = through_log(tmp_path, real)
        (handle,) = place.submit(place.job(place.step("a.0")))
        status = place.until(handle, lambda found: "last word" in found.steps["a.0"].message)
        assert status.state is JobState.RUNNING
        real.world.log_lag = 0
        assert place.wait(handle).state is JobState.COMPLETED

    def test_what_is_too_large_stays_and_the_scores_come(self, real: Service, tmp_path: Path) -> None:
        place = through_log(tmp_path, real, log_limit=1)
        (handle,) = place.submit(place.job(place.step("a.0", BIG)))
        assert place.wait(handle).state is JobState.COMPLETED
        folder = place.backend().fetch(handle, "a.0", tmp_path / "home")
        assert (folder / "results.yml").exists() and not (folder / "big").exists()
        assert "only the scores go through the log" in "".join(real.workload(job_name(handle, 0)).log.raw.decode())

    def test_the_output_of_a_failure_comes_home_too(self, real: Service, tmp_path: Path) -> None:
        place = through_log(tmp_path, real)
        (handle,) = place.submit(place.job(place.step("a.0", "(out / 'half').write_text('x'); sys.exit(3)")))
        step = place.wait(handle).steps["a.0"]
        assert (step.state, step.exit_code) == (JobState.FAILED, 3)
        assert (place.backend().fetch(handle, "a.0", tmp_path / "home") / "half").read_text() == "x"

    def test_no_secret_is_in_what_lepton_is_told_and_none_stays(
        self, real: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CANARY", "canary-4711")
        place = through_log(tmp_path, real)
        script = "assert os.environ['TOKEN'] == 'canary-%d' % 4711"
        (handle,) = place.submit(place.job(place.step("a.0", script, EnvVar("TOKEN", "host", "CANARY"))))
        assert real.secrets[secret_of(handle, EnvVar("TOKEN", "host", "CANARY"))] == "canary-4711"
        assert set(real.world.secret_visibility.values()) == {"private"}
        assert place.wait(handle).state is JobState.COMPLETED
        place.backend().cancel([handle])
        asked = [each for each in real.requests if "canary-4711" in json.dumps(each.body)]
        assert {each.path for each in asked} == {"/usersecrets"}
        assert real.secrets == {}
        kept = [path for path in tmp_path.rglob("*") if path.is_file() and b"canary-4711" in path.read_bytes()]
        assert kept == []


@pytest.mark.live
class TestThroughAnObjectStore:
    """The job uploads by an address that is good for one object; it is given no key."""

    def place(self, folder: Path, service: Service, storage: Storage) -> Real:
        return Real(folder, service, results={"via": "object", "url": storage.url, "options": storage.options})

    def test_large_results_come_home(self, real: Service, tmp_path: Path, storage: Storage) -> None:
        place = self.place(tmp_path, real, storage)
        (handle,) = place.submit(place.job(place.step("a.0", BIG), place.step("b.1")))
        assert place.wait(handle).state is JobState.COMPLETED
        folder = place.backend().fetch(handle, "a.0", tmp_path / "home")
        assert (folder / "big").stat().st_size == 3 << 20
        document = json.dumps(real.jobs)
        assert storage.secret not in document and "X-Amz-Signature" not in document and "Signature=" not in document
        assert "@proctor-part" not in real.workload(job_name(handle, 0)).log.raw.decode()

    def test_an_upload_that_fails_falls_back_to_the_log(self, real: Service, tmp_path: Path, storage: Storage) -> None:
        place = self.place(tmp_path, real, storage)
        (handle,) = place.submit(place.job(place.step("a.0", "time.sleep(2)")))
        storage.clear()
        import requests  # noqa: PLC0415

        requests.delete(f"{storage.endpoint}/{storage.bucket}", timeout=10).raise_for_status()
        assert place.wait(handle).state is JobState.COMPLETED
        assert "results" in (place.backend().fetch(handle, "a.0", tmp_path / "home") / "results.yml").read_text()

    def test_a_store_that_cannot_be_signed_for_is_refused_before_anything_is_made(
        self, real: Service, tmp_path: Path
    ) -> None:
        results = {"via": "object", "url": "s3://bucket/x", "options": {"key": None, "anon": True}}
        place = Real(tmp_path, real, results=results)
        assert "no upload to s3://bucket/x can be signed here" in str(place.refused(place.one()))
        assert (real.jobs, real.secrets) == ([], {})


@pytest.mark.live
class TestOnAVolume:
    """What is written there is looked at before it counts, and a job that starts again goes on with it."""

    def place(self, folder: Path, service: Service) -> Real:
        place = Real(folder, service)
        service.volumes["node-nfs:shared"] = folder
        return place

    def test_a_file_that_was_damaged_afterwards(
        self, real: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(homecoming, "MANIFEST_SECONDS", 2.0)
        place = self.place(tmp_path, real)
        (handle,) = place.submit(place.job(place.step("a.0")))
        assert place.wait(handle).state is JobState.COMPLETED
        folder = place.backend().fetch(handle, "a.0", tmp_path / "home")
        assert (folder / "results.yml").exists()
        wait_closely(lambda: real.jobs[0]["status"]["state"] == "Completed")  # its list of checksums is there
        (step_files(handle, "a.0").folder / "results.yml").write_text("results: {}\n")
        with pytest.raises(ResultError, match=r"results.yml is missing or damaged"):
            place.backend().fetch(handle, "a.0", tmp_path / "home")

    def test_a_job_that_lost_its_node_starts_again_where_it_was(self, real: Service, tmp_path: Path) -> None:
        place = self.place(tmp_path, real)
        script = "(out / 'again').exists() or ((out / 'again').write_text(''), time.sleep(60))"
        (handle,) = place.submit(place.job(place.step("a.0", script)))
        folder = step_files(handle, "a.0").folder
        place.until(handle, lambda _: (folder / "again").exists())
        real.preempt(job_name(handle, 0))
        status = place.wait(handle)
        assert status.state is JobState.COMPLETED, status
        assert place.runs("a.0") == 2
        assert "this job lost its machine and starts again" in (folder / "harness.log").read_text()
        assert [each.method for each in real.requests].count("POST") == 1


class TestLogs:
    """Following a log survives whatever the service does to it."""

    @pytest.fixture
    def place(self, legacy: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
        log_in(monkeypatch, legacy)
        monkeypatch.setattr(connection, "TRIES", 0)
        legacy.script("proctor-*-[0-9]", RUNS)
        return Place(tmp_path, legacy, results={"via": "log"})

    def follow(self, place: Place, handle: JobHandle) -> Iterator[str]:
        return place.backend().logs(handle, "a.0", follow=True, tail=10)

    @pytest.mark.slow
    def test_lines_come_once_and_in_order_through_every_fault(self, place: Place) -> None:
        (handle,) = place.submit(place.one())
        name, service = job_name(handle, 0), place.service
        found = self.follow(place, handle)
        service.write_log(name, "one\ntwo\n")
        assert [next(found), next(found)] == ["one", "two"]
        for fault in ({"status": 503}, {"status": 429, "headers": {"Retry-After": "0"}}, {"drop": True}, {"cut": 20}):
            service.fault("GET", "/logs", times=2, **fault)
        service.write_log(name, "thrée\n@proctor-part x 1/1 AAAA\nfour\n")
        assert [next(found), next(found)] == ["thrée", "four"]
        service.write_log(name, "five\n")
        service.script("*", FAILS)
        place.finish(handle, code="1")
        assert list(found) == ["five"]

    def test_a_line_that_arrives_after_a_younger_one_is_shown_too(self, place: Place) -> None:
        (handle,) = place.submit(place.one())
        found = self.follow(place, handle)
        place.service.write_log(job_name(handle, 0), "one\n")
        assert next(found) == "one"
        place.service.write_log(job_name(handle, 0), "late\n", late=10)
        place.service.script("*", FAILS)
        place.finish(handle, code="1")
        assert list(found) == ["late"]

    @pytest.mark.slow
    def test_nothing_of_the_past_is_shown_to_who_wants_none(self, place: Place) -> None:
        (handle,) = place.submit(place.one())
        place.service.write_log(job_name(handle, 0), "old\n")
        found = place.backend().logs(handle, "a.0", follow=True, tail=0)
        Timer(2, lambda: place.service.write_log(job_name(handle, 0), "new\n")).start()
        assert next(found) == "new"

    def test_the_end_of_a_long_log(self, place: Place) -> None:
        (handle,) = place.submit(place.one())
        place.service.write_log(job_name(handle, 0), "".join(f"line {number}\n" for number in range(12_000)))
        shown = list(place.backend().logs(handle, "a.0", follow=False, tail=2))
        assert shown == ["line 11998", "line 11999"]

    def test_a_job_that_waits_has_no_lines_yet(self, place: Place) -> None:
        (handle,) = place.submit(place.one())
        assert list(place.backend().logs(handle, "a.0", follow=False, tail=5)) == []
        assert step_files(handle, "a.0").folder.is_dir()
