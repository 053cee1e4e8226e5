"""Batch scripts: golden files, and a shell that reads them."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from proctor.blocks.job import Container, JobSpec, Mount, Step
from proctor.blocks.slurm.files import job_files, script
from proctor.blocks.slurm.headers import clock, headers, warning
from proctor.blocks.slurm.render import render
from proctor.blocks.slurm.runtimes import bind, enroot_uris, stored
from proctor.configs.errors import ConfigError
from tests.blocks.shellcheck import check_with_shellcheck
from tests.blocks.slurm.jobs import CASES, GOLDEN, job, section, server, texts
from tests.conftest import unavailable


@pytest.mark.parametrize("case", CASES)
def test_scripts_are_as_reviewed(case: str) -> None:
    for file, text in texts(case).items():
        assert text == (GOLDEN / file).read_text(), f"{file}: python -m tests.blocks.slurm.jobs, then git diff"


@pytest.mark.parametrize("case", CASES)
def test_a_shell_accepts_every_script(case: str, tmp_path: Path) -> None:
    for name, text in job_files(*CASES[case]).items():
        if name.endswith(".sh"):
            path = tmp_path / name
            path.write_text(text)
            shell = "bash" if name == "job.sh" else "sh"
            done = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr


REMOTE = ["submit.sh", "poll.sh", "cancel.sh", "follow.sh", "list.sh", "enter.sh"]


@pytest.mark.parametrize("name", REMOTE)
def test_remote_scripts_are_portable(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(script(name))
    assert subprocess.run(["dash" if shutil.which("dash") else "sh", "-n", str(path)], check=False).returncode == 0


@pytest.mark.live
@pytest.mark.parametrize("case", CASES)
def test_shellcheck_finds_nothing_in_a_job(case: str, tmp_path: Path) -> None:
    for name, text in job_files(*CASES[case]).items():
        if name.endswith(".sh") and not name[0].isdigit():
            shell = "bash" if name == "job.sh" else "sh"
            check_with_shellcheck(name, text, tmp_path, shell, "SC1091,SC2034,SC2154,SC2015")


@pytest.mark.live
@pytest.mark.parametrize("name", REMOTE)
def test_shellcheck_finds_nothing_in_remote_scripts(name: str, tmp_path: Path) -> None:
    check_with_shellcheck(name, script(name), tmp_path, "sh", "SC1091,SC2034,SC2154,SC2153,SC2119,SC2120")


@pytest.mark.live
def test_the_load_balancer_reads_its_configuration(tmp_path: Path) -> None:
    haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if not haproxy:
        unavailable("haproxy is not installed; `scripts/services` installs it")
    files = job_files(*CASES["pyxis-haproxy-two-instances"])
    path = tmp_path / "haproxy.cfg"
    path.write_text(files["haproxy.cfg"] + "  server instance0 127.0.0.1:8001 check inter 2s fall 3 rise 1\n")
    done = subprocess.run([haproxy, "-c", "-f", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize(("seconds", "text"), [(43200, "12:00:00"), (90061, "1-01:01:01"), (60, "00:01:00")])
def test_walltime_is_written_for_slurm(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize("value", ["12:00:00", 43200])
def test_twelve_hours_are_twelve_hours(value: object) -> None:
    assert "#SBATCH --time=12:00:00" in headers(job(), section(walltime=value))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("30:00", "00:30:00"),
        (1800, "00:30:00"),
        ("90:30", "01:30:30"),
        ("1-12", "1-12:00:00"),
        ("1-12:30", "1-12:30:00"),
        ("2-00:00:10", "2-00:00:10"),
    ],
)
def test_durations_mean_what_slurm_means_by_them(value: object, text: str) -> None:
    assert f"#SBATCH --time={text}" in headers(job(), section(walltime=value)).splitlines()


def test_the_warning_leaves_time_to_end() -> None:
    assert (warning(60), warning(3600), warning(400000)) == (20, 120, 120)


@pytest.mark.parametrize(
    ("flags", "lines"),
    [
        ({"exclusive": True}, ["#SBATCH --exclusive"]),
        ({"nice": 5, "constraint": None, "contiguous": False}, ["#SBATCH --nice=5"]),
        ({"constraint": 'a "b" c'}, ['#SBATCH --constraint="a \\"b\\" c"']),
    ],
)
def test_extra_flags(flags: dict[str, object], lines: list[str]) -> None:
    text = headers(job(), section(sbatch_extra_flags=flags)).splitlines()
    assert text[-len(lines) :] == lines
    assert not [line for line in text if "contiguous" in line]


@pytest.mark.parametrize(
    "flags",
    [
        *({"output": "x"}, {"job-name": "x"}, {"a b": "x"}, {"nice": "1\n2"}, {"requeue": True}, {"no_requeue": True}),
        *({"time": "1:00:00"}, {"clusters": "other"}, {"--export": "NONE"}, {"export-file": "x"}),
    ],
)
def test_flags_that_would_take_the_job_away_are_refused(flags: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        headers(job(), section(sbatch_extra_flags=flags))


def test_a_later_attempt_waits_for_nothing() -> None:
    later = JobSpec("proctor-0123abcd-9f8e7d-0-2", "0123abcd", "/o", job().steps, attempt=2)
    assert "--dependency" in headers(job(), section(dependency="afterok:1"))
    assert "--dependency" not in headers(later, section(dependency="afterok:1"))


@pytest.mark.parametrize(
    ("image", "uri"),
    [
        ("nvcr.io/nvidia/eval:1", "docker://nvcr.io#nvidia/eval:1"),
        ("ubuntu:22.04", "docker://ubuntu:22.04"),
        ("nvcr.io#nvidia/eval:1", "docker://nvcr.io#nvidia/eval:1"),
        ("nvcr.io/nvidia/eval:1@sha256:ab", "docker://nvcr.io#nvidia/eval@sha256:ab"),
        ("host:5000/x@sha256:ab", "docker://host:5000#x@sha256:ab"),
    ],
)
def test_images_in_the_words_of_enroot(image: str, uri: str) -> None:
    assert enroot_uris(image)[0] == uri


def test_imports_are_kept_by_digest_and_tags_for_one_evaluation() -> None:
    assert ".tag-" not in stored("a/b@sha256:" + "0" * 64, "pyxis")
    assert ".tag-$EVALUATION" in stored("a/b:latest", "pyxis")
    assert stored("/images/my image.sqsh", "pyxis") == "'/images/my image.sqsh'"


def test_paths_with_commas_can_be_mounted_where_the_runtime_can_quote() -> None:
    assert bind(Mount('/a, "b"', "/c", True), "docker") == '\'type=bind,"source=/a, ""b""",destination=/c,readonly\''


@pytest.mark.parametrize("runtime", ["pyxis", "charliecloud"])
def test_a_mount_that_a_runtime_cannot_express_is_told(runtime: str) -> None:
    odd = Step("a.0", "x.a", Container("i:1", mounts=(Mount("/a:b", "/c"),)), "", "")
    with pytest.raises(ConfigError, match="/a:b"):
        render(JobSpec("j", "e", "/o", (odd,)), section(container_runtime=runtime))


def test_a_server_without_a_command_is_told_where_nothing_starts_by_itself() -> None:
    with pytest.raises(ConfigError, match=r"deployment\.command"):
        render(job(server("nim", None)), section(container_runtime="none"))


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
@pytest.mark.parametrize("command", ["cd /app && serve", "A=1 serve", "a; b"])
def test_a_command_of_several_parts_is_refused_where_each_node_needs_its_own_end_of_it(kind: str, command: str) -> None:
    with pytest.raises(ConfigError, match=r"deployment\.pre_cmd"):
        render(job(server(kind, command)), section(nodes=2))


def test_a_server_without_a_command_needs_nodes_that_can_be_shared_out_too() -> None:
    with pytest.raises(ConfigError, match="3 servers cannot share 4 nodes"):
        render(job(server("nim", None)), section(nodes=4, num_instances=3))


def test_lock_files_of_this_machine_travel_with_the_job(tmp_path: Path) -> None:
    lock = tmp_path / "mmath.txt"
    lock.write_text("a==1 --hash=sha256:00\n")
    packages = (str(lock), "/shared/there.txt", "a==1")
    made = Step("a.0", "x.a", Container(packages=packages), "", "")
    execution = section(container_runtime="none")
    files = job_files(JobSpec("j", "e", "/o", (made,)), execution)
    (name,) = (name for name in files if name.startswith("lock-"))
    assert files[name] == "a==1 --hash=sha256:00\n"
    assert f"{name} /shared/there.txt a==1" in files["job.sh"]
    assert str(tmp_path) not in files["job.sh"]
    before = files["job.sh"]
    lock.write_text("a==2 --hash=sha256:00\n")
    assert job_files(JobSpec("j", "e", "/o", (made,)), execution)["job.sh"] != before, "another content, another folder"


def test_no_value_of_a_variable_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "canary-4711")
    text = render(*CASES["docker-vllm"])
    assert "canary-4711" not in text
    assert "--env=API_KEY" in text


@pytest.mark.slow
def test_jobs_that_do_not_end_are_not_called_ended(tmp_path: Path) -> None:
    said = end_jobs(tmp_path, "7 RUNNING")
    assert "@failed after 1 s Slurm still says: 7 RUNNING" in said
    assert "@failed" not in end_jobs(tmp_path, "7 COMPLETING"), "on a node that is down that may be for ever"
    assert "@failed" not in end_jobs(tmp_path, "")


def end_jobs(folder: Path, listed: str) -> str:
    """What the end of a job says where squeue lists this after it."""
    for name, text in (("squeue", f"echo {shlex.quote(listed)}" if listed else ":"), ("scancel", ":")):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    text = f"{script('cancel.sh')}\nIDS=,7\nend_jobs 1\n"
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True, env=env).stdout


def test_podman_gets_the_gpus_of_its_job_and_no_others() -> None:
    (line,) = (line for line in script("job.sh").splitlines() if line.lstrip().startswith("mapfile -t GPU_DEVICES"))
    argv = ["bash", "-c", f"GPUS=2,5\n{line}\nprintf '%s\\n' \"${{GPU_DEVICES[@]}}\""]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["--device=nvidia.com/gpu=2", "--device=nvidia.com/gpu=5"]
