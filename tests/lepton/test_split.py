"""Benchmarks that share one job of Lepton's (`execution.split`): each ends by itself, whatever becomes of the job."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proctor.blocks.errors import RejectedError, TransientError
from proctor.blocks.job import Container, EnvVar, JobHandle, JobSpec, JobState, Mount, Step
from proctor.blocks.job_files import step_files
from proctor.blocks.lepton import connection
from proctor.blocks.lepton.homecoming import archive_path, store
from proctor.blocks.lepton.overseer import handle_of
from proctor.blocks.lepton.shares import shares
from proctor.blocks.stage_files import lost
from tests.engine import fake_harness_image
from tests.lepton.archives import lines, packed
from tests.lepton.login import log_in
from tests.lepton.place import ENDS, FAILS, QUEUES, RUNS, Place, asks, posts
from tests.lepton.service import Service
from tests.lepton.storage import Storage
from tests.lepton.test_crashes import at_every_request
from tests.waiting import wait_closely

NAMES = ("a.0", "b.1", "c.2")
DONE, RUNNING, WAITING = JobState.COMPLETED, JobState.RUNNING, JobState.PENDING


@pytest.fixture
def cloud(legacy: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    log_in(monkeypatch, legacy)
    monkeypatch.setattr(connection, "TRIES", 0)
    legacy.script("proctor-*-[0-9]", RUNS)
    return legacy


@pytest.fixture
def logged(cloud: Service, tmp_path: Path) -> Iterator[Place]:
    yield Place(tmp_path, cloud, results={"via": "log"}, split=1)


@pytest.fixture
def mounted(cloud: Service, tmp_path: Path) -> Iterator[Place]:
    yield Place(tmp_path, cloud, split=1)


def three(place: Place) -> JobHandle:
    (handle,) = place.submit(place.job(*(place.step(name) for name in NAMES)))
    return handle


def end_in_log(place: Place, handle: JobHandle, step: str, code: int = 0) -> None:
    """A benchmark ends in its job, whose log then holds its results."""
    (share,) = shares(handle, place.execution)
    mark = share.mark(step)
    text = [f"@proctor-begin {mark}", f"{step} says hello", *lines(packed(handle, code), mark), f"@proctor-end {mark}"]
    place.service.write_log(share.name, "".join(f"{line}\n" for line in text))


def states(place: Place, handle: JobHandle) -> list[JobState]:
    return [each.state for each in place.status(handle).steps.values()]


class TestOneJob:
    """All of them are asked for at once, and one after the other runs."""

    def test_there_is_one_with_every_benchmark(self, logged: Place) -> None:
        handle = three(logged)
        assert (posts(logged.service), logged.jobs(handle)) == (1, [f"{handle.name}-0"])
        assert states(logged, handle) == [RUNNING, WAITING, WAITING]
        assert logged.says(handle, "b.1") == "waits for its turn"

    def test_they_are_dealt_out_to_so_many_and_no_more_run_at_once_than_may(
        self, cloud: Service, tmp_path: Path
    ) -> None:
        place = Place(tmp_path, cloud, split=2)
        (handle,) = place.submit(place.job(*(place.step(name) for name in NAMES), max_parallel=1))
        assert place.jobs(handle) == [f"{handle.name}-0"]
        for step in ("a.0", "c.2"):
            place.finish(handle, step)
        place.status(handle)
        assert place.jobs(handle) == [f"{handle.name}-0", f"{handle.name}-1"]

    def test_what_ends_is_home_while_the_others_run(self, logged: Place) -> None:
        handle = three(logged)
        end_in_log(logged, handle, "a.0")
        assert states(logged, handle) == [DONE, RUNNING, WAITING]
        end_in_log(logged, handle, "b.1", 3)
        assert states(logged, handle) == [DONE, JobState.FAILED, RUNNING]
        assert logged.status(handle).steps["b.1"].exit_code == 3
        assert (step_files(handle, "a.0").folder / "results.yml").exists()

    def test_a_look_asks_for_the_list_and_for_the_ends_in_the_log_alone(self, logged: Place) -> None:
        handle = three(logged)
        logged.service.write_log(f"{handle.name}-0", "a line of a harness\n" * 20_000)
        before = len(logged.service.requests)
        assert states(logged, handle)[0] is RUNNING
        asked = logged.service.requests[before:]
        assert [each.path for each in asked] == ["/jobs", "/logs"]
        assert asked[1].one("q") == "@proctor-sum"

    @pytest.mark.parametrize("fault", [{"status": 503}, {"status": 403}, {"drop": True}, {"body": {"data": 3}}])
    def test_a_log_that_cannot_be_had_now_changes_nothing(self, logged: Place, fault: dict[str, Any]) -> None:
        handle = three(logged)
        logged.service.fault("GET", "/logs", times=None, **fault)
        assert states(logged, handle) == [RUNNING, WAITING, WAITING]

    def test_each_has_its_own_part_of_the_log(self, logged: Place) -> None:
        handle = three(logged)
        (share,) = shares(handle, logged.execution)
        text = f"pulled\n@proctor-begin {share.mark('a.0')}\none\n@proctor-end {share.mark('a.0')}\n"
        logged.service.write_log(share.name, f"{text}@proctor-begin {share.mark('b.1')}\ntwo\n")
        seen = {step: list(logged.backend().logs(handle, step, follow=False, tail=9)) for step in NAMES}
        assert seen == {"a.0": ["one"], "b.1": ["two"], "c.2": []}
        following = logged.backend().logs(handle, "b.1", follow=True, tail=9)
        assert next(following) == "two"
        logged.service.write_log(share.name, "three\n")
        assert next(following) == "three"


class TestOnce:
    """However often it is asked for, and whoever dies: one job, and no benchmark runs twice."""

    def test_a_lost_reply_is_resolved_by_looking(self, logged: Place) -> None:
        job = logged.job(*(logged.step(name) for name in NAMES))
        logged.service.fault("POST", "/jobs", drop=True, after=True)
        with pytest.raises(TransientError, match="does not answer"):
            logged.backend().submit([job])
        (handle,) = logged.submit(job)
        logged.age(handle, 25)
        assert states(logged, handle)[0] is RUNNING
        assert (posts(logged.service), len(logged.jobs(handle))) == (1, 1)

    def test_who_dies_after_any_answer_leaves_nothing_that_is_doubled_or_lost(self, logged: Place) -> None:
        def begin() -> JobSpec:
            return logged.job(*(logged.step(name) for name in NAMES))

        def act(job: JobSpec) -> None:
            logged.submit(job)
            if len(logged.service.workload(f"{job.name}-0").log.lines) == 0:
                end_in_log(logged, handle_of(job), "a.0")
            logged.status(handle_of(job))

        def check(job: JobSpec) -> None:
            act(job)
            assert states(logged, handle_of(job)) == [DONE, RUNNING, WAITING]
            assert logged.jobs(job) == [f"{job.name}-0"]

        assert at_every_request(lambda job: logged.backend().submit([job]), begin, check) >= 3
        job = begin()
        logged.submit(job)
        end_in_log(logged, handle_of(job), "a.0")
        assert at_every_request(lambda _: logged.status(handle_of(job)), lambda: job, check) >= 2


class TestEnds:
    """What has ended keeps its end; the one that ran and those that waited are told apart."""

    def test_a_job_that_fails_in_the_middle(self, logged: Place) -> None:
        handle = three(logged)
        end_in_log(logged, handle, "a.0")
        logged.service.add_event(f"{handle.name}-0", "OOMKilled")
        logged.service.script("*", FAILS)
        logged.status(handle)
        logged.age(handle, 31)
        first, second, third = logged.status(handle).steps.values()
        assert first.state is DONE
        assert (second.exit_code, lost(second)) == (70, False) and "out of memory" in second.message
        assert lost(third) and "before its turn came" in third.message

    @pytest.mark.parametrize(
        ("how", "state", "words"),
        [
            ("stopped", JobState.CANCELLED, "was stopped on Lepton by somebody else"),
            ("removed", JobState.FAILED, "vanished from Lepton"),
            ("archived", JobState.FAILED, "archived by Lepton without an outcome"),
        ],
    )
    def test_a_job_that_is_ended_in_the_middle(self, logged: Place, how: str, state: JobState, words: str) -> None:
        """The first benchmark ended after the last look."""
        handle, name = three(logged), ""
        logged.status(handle)
        end_in_log(logged, handle, "a.0")
        name = f"{handle.name}-0"
        if how == "stopped":
            logged.service.workload(name).halt()
            wait_closely(lambda: logged.service.jobs[0]["status"]["state"] == "Stopped")
        elif how == "removed":
            logged.service.vanish(name)
            logged.age(handle, 25)
        else:
            logged.service.archive(name)
            logged.status(handle)
            logged.age(handle, 31)
        first, second, third = logged.status(handle).steps.values()
        assert (first.state, second.state) == (DONE, state)
        assert words in second.message
        assert third.state is state

    def test_one_that_completed_and_left_nothing_of_a_benchmark(self, logged: Place) -> None:
        handle = three(logged)
        for step in ("a.0", "c.2"):
            end_in_log(logged, handle, step)
        logged.service.script("*", ENDS)
        logged.status(handle)
        logged.age(handle, 31)
        first, second, third = logged.status(handle).steps.values()
        assert (first.state, second.exit_code, third.state) == (DONE, 65, DONE)

    def test_one_that_lost_its_node_is_not_let_run_again_what_is_home(self, logged: Place) -> None:
        handle = three(logged)
        end_in_log(logged, handle, "a.0")
        logged.status(handle)
        logged.service.script("*", QUEUES)
        first, *others = logged.status(handle).steps.values()
        assert first.state is DONE
        assert all(lost(each) for each in others), others
        wait_closely(lambda: logged.service.live() == [])

    def test_one_that_lost_its_node_before_anything_ended_goes_on(self, logged: Place) -> None:
        handle = three(logged)
        logged.status(handle)
        logged.service.script("*", QUEUES)
        assert states(logged, handle) == [WAITING] * 3
        logged.service.script("*", RUNS)
        assert states(logged, handle) == [RUNNING, WAITING, WAITING]

    def test_one_on_a_volume_that_lost_its_node_goes_on(self, mounted: Place) -> None:
        handle = three(mounted)
        mounted.finish(handle)
        mounted.status(handle)
        mounted.service.script("*", QUEUES)
        assert states(mounted, handle) == [DONE, WAITING, WAITING]
        assert mounted.service.live()

    def test_one_whose_image_cannot_be_pulled_ends_them_all(self, logged: Place) -> None:
        logged.service.script("*", QUEUES)
        handle = three(logged)
        logged.service.add_event(f"{handle.name}-0", "ImagePullBackOff")
        logged.age(handle, 61)
        for _ in range(2):
            found = logged.status(handle).steps.values()
            assert {(each.state, each.exit_code) for each in found} == {(JobState.FAILED, 70)}, found

    def test_one_that_waits_too_long_ends_them_all(self, cloud: Service, tmp_path: Path) -> None:
        place = Place(tmp_path, cloud, split=1, queue_timeout=300)
        cloud.script("*", QUEUES)
        handle = three(place)
        place.age(handle, 301)
        assert {each.exit_code for each in place.status(handle).steps.values()} == {75}
        wait_closely(lambda: cloud.live() == [])

    def test_its_clock_is_that_of_all_of_them(self, logged: Place) -> None:
        (handle,) = logged.submit(logged.job(*(logged.step(name, timeout=60) for name in NAMES)))
        logged.status(handle)
        end_in_log(logged, handle, "a.0")
        logged.age(handle, 361)
        assert states(logged, handle) == [DONE, RUNNING, WAITING]
        logged.age(handle, 120)
        first, second, third = logged.status(handle).steps.values()
        assert (first.state, second.exit_code, lost(third)) == (DONE, 124, True)

    def test_a_server_that_dies_takes_what_has_not_ended(self, logged: Place) -> None:
        steps = [asks(logged.step(name)) for name in NAMES]
        (handle,) = logged.submit(logged.job(*steps, server=logged.scripted()))
        logged.until(handle, lambda found: found.state is RUNNING)
        end_in_log(logged, handle, "a.0")
        logged.service.script("proctor-*-s", [("Error", None)])
        first, *others = logged.status(handle).steps.values()
        assert first.state is DONE
        assert all(each.exit_code == 69 and "server died" in each.message for each in others)

    def test_one_that_lepton_refuses_ends_them_all(self, logged: Place) -> None:
        steps = [asks(logged.step(name)) for name in NAMES]
        logged.service.fault("POST", "/jobs", status=403)
        (handle,) = logged.submit(logged.job(*steps, server=logged.scripted()))
        status = logged.until(handle, lambda found: found.state.final)
        assert {each.exit_code for each in status.steps.values()} == {78}


class TestUploaded:
    """An upload outlives its job."""

    def test_what_was_uploaded_comes_home_from_a_job_that_vanished(
        self, cloud: Service, tmp_path: Path, storage: Storage
    ) -> None:
        way = {"via": "object", "url": storage.url, "options": storage.options}
        place = Place(tmp_path, cloud, results=way, split=1)
        handle = three(place)
        assert len([each for each in cloud.secrets if "RESULTS_URL" in each]) == 3, "an address for each"
        files, root = store(place.execution.results)
        files.pipe_file(archive_path(root, handle, "a.0"), packed(handle))
        assert states(place, handle) == [DONE, RUNNING, WAITING]
        files.pipe_file(archive_path(root, handle, "b.1"), packed(handle, 3))
        cloud.vanish(f"{handle.name}-0")
        place.age(handle, 25)
        codes = [each.exit_code for each in place.status(handle).steps.values()]
        assert codes == [0, 3, 70]


class TestCancelling:
    """One alone where that is possible, all of them always."""

    def test_all_of_them_and_what_has_ended_is_kept(self, logged: Place) -> None:
        handle = three(logged)
        logged.status(handle)
        end_in_log(logged, handle, "a.0")
        started = time.monotonic()
        found = logged.backend().cancel([handle])[handle]
        assert time.monotonic() - started < 30
        assert [each.state for each in found.steps.values()] == [DONE, JobState.CANCELLED, JobState.CANCELLED]
        assert (logged.service.jobs, logged.service.secrets) == ([], {})

    def test_one_that_cannot_be_reached_is_refused_and_nothing_is_done(self, logged: Place) -> None:
        handle = three(logged)
        before = len(logged.service.requests)
        with pytest.raises(
            RejectedError, match=r"b.1 cannot be cancelled alone: it shares a job on Lepton with a.0, c.2"
        ):
            logged.backend().cancel([handle], "b.1")
        assert len(logged.service.requests) == before
        assert states(logged, handle) == [RUNNING, WAITING, WAITING]

    def test_one_whose_job_is_not_asked_for_yet_is_left_out_of_it(self, cloud: Service, tmp_path: Path) -> None:
        place = Place(tmp_path, cloud, results={"via": "log"}, split=1)
        steps = [asks(place.step(name)) for name in NAMES]
        cloud.script("proctor-*-s", [("Starting", None)])
        (handle,) = place.submit(place.job(*steps, server=place.scripted()))
        found = place.backend().cancel([handle], "b.1")[handle].steps
        assert found["b.1"].state is JobState.CANCELLED
        cloud.script("proctor-*-s", [("Ready", None)])
        place.until(handle, lambda status: status.steps["a.0"].state is RUNNING)
        script = cloud.workload(f"{handle.name}-0").spec["container"]["command"][-1]
        assert "STEP=c.2" in script and "STEP=b.1" not in script

    def test_one_that_waits_on_a_volume_never_begins(self, mounted: Place) -> None:
        handle = three(mounted)
        found = mounted.backend().cancel([handle], "c.2")[handle].steps
        assert [each.state for each in found.values()] == [RUNNING, WAITING, JobState.CANCELLED]
        assert step_files(handle, "c.2").claim.is_dir(), "so that its wrapper leaves"
        assert mounted.service.live()

    def test_the_last_one_goes_with_its_job(self, logged: Place) -> None:
        handle = three(logged)
        for step in ("a.0", "b.1"):
            end_in_log(logged, handle, step)
        logged.status(handle)
        found = logged.backend().cancel([handle], "c.2")[handle].steps
        assert [each.state for each in found.values()] == [DONE, DONE, JobState.CANCELLED]
        assert logged.service.jobs == []


def with_image(place: Place, name: str, image: str) -> Any:
    step = place.step(name)
    return replace(step, container=replace(step.container, image=image))


class TestTogether:
    """What benchmarks of one job must share is checked before anything is made."""

    def test_two_images(self, logged: Place) -> None:
        problem = logged.refused(logged.job(with_image(logged, "a.0", "x/one:1"), with_image(logged, "b.1", "x/two:2")))
        assert "fake.a.0 runs x/one:1 and fake.b.1 runs x/two:2, but benchmarks that share a job" in str(problem)
        assert (logged.service.jobs, logged.service.secrets) == ([], {})

    def test_two_folders_at_one_place(self, logged: Place) -> None:
        steps = []
        for name in ("a.0", "b.1"):
            step, data = logged.step(name), Mount(f"node-nfs:shared:/{name}", "/datasets", read_only=True)
            steps.append(replace(step, container=replace(step.container, mounts=(data,))))
        problem = str(logged.refused(logged.job(*steps)))
        assert "node-nfs:shared:/a.0" in problem and "node-nfs:shared:/b.1" in problem and "/datasets" in problem

    def test_too_many_for_one_command(self, logged: Place) -> None:
        problem = logged.refused(logged.job(*(logged.step(f"s.{index}", "x" * 3000) for index in range(40))))
        assert "execution.split: 40 benchmarks are too many for one job" in str(problem)

    def test_thirty_are_not(self, logged: Place) -> None:
        logged.submit(logged.job(*(logged.step(f"s.{index}", "x" * 500) for index in range(30))))

    def test_what_only_one_is_given_the_others_do_not_have(
        self, logged: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("ONE", "TWO", "BOTH"):
            monkeypatch.setenv(name, f"value of {name}")
        both = EnvVar("BOTH", "host", "BOTH")
        first = logged.step("a.0", "", both, EnvVar("TOKEN", "host", "ONE"))
        second = logged.step("b.1", "", both, EnvVar("TOKEN", "host", "TWO"))
        (handle,) = logged.submit(logged.job(first, second))
        envs = logged.service.workload(f"{handle.name}-0").blueprint.envs
        values = {
            each["name"]: logged.service.secrets[each["value_from"]["secret_name_ref"]]
            for each in envs
            if "value_from" in each
        }
        expected = {"BOTH": "value of BOTH", "PROCTOR_0_TOKEN": "value of ONE", "PROCTOR_1_TOKEN": "value of TWO"}
        assert values == expected


def test_nobody_who_looks_twice_asks_twice(logged: Place) -> None:
    """A job that was asked for is not asked for again, also when all but one of its benchmarks have ended."""
    handle = three(logged)
    for step in ("a.0", "b.1"):
        end_in_log(logged, handle, step)
        logged.status(handle)
        logged.age(handle, 100)
    assert posts(logged.service) == 1


class Real(Place):
    """The fake harness in containers of the stand-in, all benchmarks in one job on a volume."""

    runs_code = True

    def container(self, *env: EnvVar) -> Container:
        return Container(image=fake_harness_image(), env=env)

    def step(self, name: str, script: str = "", *env: EnvVar, timeout: float | None = None) -> Step:
        self.results = f"/results/{name}"
        return super().step(name, script, *env, timeout=timeout)


@pytest.mark.live
class TestReally:
    """In a container."""

    @pytest.fixture
    def real(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Real]:
        with Service(runner="docker", deletion=0.05) as service:
            log_in(monkeypatch, service)
            place = Real(tmp_path, service, split=1)
            service.volumes["node-nfs:shared"] = tmp_path
            yield place

    def test_a_job_that_lost_its_node_goes_on_after_what_has_ended(self, real: Real) -> None:
        script = "(out / 'again').exists() or ((out / 'again').write_text(''), time.sleep(60))"
        (handle,) = real.submit(real.job(real.step("a.0"), real.step("b.1", script), real.step("c.2")))
        real.until(handle, lambda _: (step_files(handle, "b.1").folder / "again").exists())
        real.service.preempt(f"{handle.name}-0")
        assert real.wait(handle).state is DONE
        assert [real.runs(step) for step in NAMES] == [1, 2, 1]
        assert posts(real.service) == 1

    def test_a_second_job_of_its_name_runs_nothing(self, real: Real) -> None:
        script = (
            "(out / 'go').exists() or (out / 'begun').write_text('')\nwhile not (out / 'go').exists(): time.sleep(0.1)"
        )
        (handle,) = real.submit(real.job(*(real.step(name, script) for name in NAMES)))
        folders = [step_files(handle, step).folder for step in NAMES]
        real.until(handle, lambda _: (folders[0] / "begun").exists())
        body = next(each.body for each in real.service.requests if each.method == "POST" and each.path == "/jobs")
        real.backend().workspace.ask("a double", lambda client: client._post("/jobs", json=body))
        wait_closely(lambda: any(each["status"]["state"] == "Completed" for each in real.service.jobs))
        assert not any((each / "begun").exists() for each in folders[1:])
        for each in folders:
            (each / "go").touch()
        assert real.wait(handle).state is DONE
        assert [real.runs(step) for step in NAMES] == [1, 1, 1]

    def test_each_sees_what_it_was_given(self, real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ONE", "canary-1")
        steps = [
            real.step("a.0", "assert os.environ['TOKEN'] == 'canary-%d' % 1", EnvVar("TOKEN", "host", "ONE")),
            real.step("b.1", "assert os.environ['TOKEN'] == 'it\\'s $two'", EnvVar("TOKEN", "lit", "it's $two")),
            real.step("c.2", "assert 'TOKEN' not in os.environ"),
        ]
        (handle,) = real.submit(real.job(*steps))
        assert real.wait(handle).state is DONE, [each.message for each in real.status(handle).steps.values()]

    def test_one_that_runs_is_cancelled_and_the_next_begins(self, real: Real) -> None:
        (handle,) = real.submit(real.job(real.step("a.0"), real.step("b.1", "time.sleep(60)"), real.step("c.2")))
        real.until(handle, lambda _: real.runs("b.1") == 1)
        started = time.monotonic()
        found = real.backend().cancel([handle], "b.1")[handle].steps
        assert time.monotonic() - started < 30
        assert (found["a.0"].state, found["b.1"].state) == (DONE, JobState.CANCELLED)
        assert real.wait(handle).steps["c.2"].state is DONE
