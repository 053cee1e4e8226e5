"""The batch script that a cluster would be sent."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proctor.blocks.job import Container, EnvVar, JobSpec, Mount, Server, Step
from proctor.blocks.slurm.containers import enroot_image
from proctor.blocks.slurm.render import batch_script, clock, job_files, render
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import SlurmExecution

RUNTIMES = ("pyxis", "apptainer", "podman", "docker", "charliecloud", "none")
ODD = 'it\'s $HOME; rm -rf / "x" ümläut --flag'
CONTAINER = Container(
    image="nvcr.io/nvidia/eval@sha256:ff",
    env=(EnvVar("KEY", "host", "KEY"), EnvVar("TEXT", "lit", ODD), EnvVar("THERE", "runtime", "SITE_TOKEN")),
    mounts=(Mount("/data", "/datasets", read_only=True),),
)
STEPS = tuple(
    Step(f"{name}.{index}", f"h.{name}", CONTAINER, "config: {}\n", "http://127.0.0.1:8000/v1/chat/completions")
    for index, name in enumerate(("one", "two"))
)
SERVER = Server("vllm", Container(image="vllm/vllm-openai:latest"), "vllm serve /checkpoint", 8000, "m")
JOB = JobSpec("proctor-0a1b2c3d-abcdef-0-1", "0a1b2c3d", "/shared/out put/e", STEPS, SERVER)


def execution(**values: Any) -> SlurmExecution:
    return SlurmExecution(hostname="login", **values)


def checked(text: str, shell: str, folder: Path) -> None:
    """Parse the script with its shell, and with shellcheck where it is installed."""
    script = folder / "script"
    script.write_text(text)
    subprocess.run([shell, "-n", str(script)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "-s", shell, "-S", "warning", str(script)], check=True)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_script_is_valid_shell(runtime: str, tmp_path: Path) -> None:
    files = job_files(JOB, execution(container_runtime=runtime, sbatch_comment=ODD))
    assert len(files) == 2 + 2 * len(STEPS) + 1
    for path, text in files.items():
        if path.endswith(".sbatch"):
            checked(text, "bash", tmp_path)
        elif path.endswith(".sh"):
            subprocess.run(["sh", "-n"], input=text, text=True, check=True)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_secrets_are_names_and_texts_are_quoted(runtime: str) -> None:
    script = batch_script(JOB, execution(container_runtime=runtime))
    assert "export KEY" not in script
    assert 'export THERE="${SITE_TOKEN-}"' in script
    line = next(line for line in script.splitlines() if "export TEXT=" in line)
    shown = subprocess.run(["bash", "-c", f'{line}; printf %s "$TEXT"'], capture_output=True, text=True, check=True)
    assert shown.stdout == ODD


def test_pyxis_runs_by_digest_with_its_mounts_and_names() -> None:
    script = batch_script(JOB, execution(mount_home=False))
    assert "'--container-image=nvcr.io#nvidia/eval@sha256:ff'" in script
    assert "/shared/out put/e/one.0:/results,/shared/out put/e:/proctor/job:ro,/data:/datasets:ro" in script
    assert "--container-env=PROCTOR_EVALUATION,PROCTOR_JOB,PROCTOR_STEP,KEY,TEXT,THERE" in script
    assert script.count("--no-container-mount-home") == 3


def test_the_header_asks_for_what_the_config_says() -> None:
    script = batch_script(
        replace(JOB, server=None),
        execution(
            account="a b", nodes=2, gres="gpu:8", walltime="1-02:03:04", exclusive=True, mail="me@example.com",
            requeue=True, sbatch_extra_flags={"exclusive": False, "constraint": "h100&ib", "contiguous": True},
        ),
    )  # fmt: skip
    header = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    for line in (
        "--account='a b'", "--nodes=2", "--gres=gpu:8", "--time=1-02:03:04", "--mail-user=me@example.com",
        "--mail-type=END,FAIL", "--requeue", "--constraint='h100&ib'", "--contiguous",
    ):  # fmt: skip
        assert f"#SBATCH {line}" in header
    assert not [line for line in header if "exclusive" in line or "None" in line or "no-requeue" in line]


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(ConfigError, match="several nodes is not supported yet"):
        render(JOB, execution(nodes=2))
    with pytest.raises(ConfigError, match="--comment has a line break"):
        render(JOB, execution(sbatch_comment="a\n#SBATCH --nodes=100"))
    colon = replace(STEPS[0], container=replace(CONTAINER, mounts=(Mount("/a,b", "/c"),)))
    with pytest.raises(ConfigError, match="comma or colon"):
        render(replace(JOB, steps=(colon,)), execution())


@pytest.mark.parametrize(
    ("image", "named"),
    [
        ("nvcr.io/nvidia/x:1", "nvcr.io#nvidia/x:1"),
        ("localhost:5000/x:1", "localhost:5000#x:1"),
        ("vllm/vllm-openai:latest", "vllm/vllm-openai:latest"),
        ("python:3.12", "python:3.12"),
        ("/images/x.sqsh", "/images/x.sqsh"),
    ],
)
def test_images_are_named_as_enroot_wants_them(image: str, named: str) -> None:
    assert enroot_image(image) == named


@pytest.mark.parametrize(
    ("seconds", "text"), [(3600, "01:00:00"), (43200, "12:00:00"), (93784, "1-02:03:04"), (59, "00:00:59")]
)
def test_durations_are_written_as_slurm_reads_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text
