"""Whole evaluations on the real cluster in containers of Docker, which no end of a Slurm job ends by itself."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import SSHD, as_user
from tests.contract import WEIRD
from tests.engine import engine, fake_harness_image
from tests.flows.stack import Run, Stack
from tests.flows.test_slurm_flow import PROCTOR, STEPS, living, remote_folder, starts, submitted
from tests.waiting import wait_for

pytestmark = pytest.mark.live


def config(home: Path, shared: Path, endpoint: str, script: str, image: str = "", **execution: Any) -> dict[str, Any]:
    """Two benchmarks of the fake harness in containers."""
    return {
        "execution": {
            **{"type": "slurm", "hostname": "cluster", "ssh_config": str(SSHD / "ssh_config"), "account": "eval"},
            **{"partition": "gpu", "walltime": 600, "container_runtime": "docker", "output_dir": str(shared)},
            **{"local_dir": str(home), "poll_interval": 0.5, **execution},
        },
        "target": {"api_endpoint": {"url": endpoint, "model_id": "fake-model"}},
        "evaluation": {
            "trust_unlisted": True,
            "env_vars": {"FAKE_SCRIPT": f"lit:{script}"},
            "tasks": [
                {"name": f"fake.{name}", "container": image or fake_harness_image()} for name in ("alpha", "beta")
            ],
        },
    }


def containers(run: Run) -> list[str]:
    """What Docker still holds of an evaluation."""
    label = f"proctor.evaluation={run.id}"
    found = engine().containers.list(all=True, ignore_removed=True, filters={"label": label})
    return sorted(str(each.name) for each in found)


def test_killing_ends_the_successor_of_a_lost_job_with_its_containers(
    stack: Stack, tmp_path: Path, shared: Path, endpoint: str
) -> None:
    run = stack.start("slurm", config(tmp_path, shared, endpoint, "time.sleep(300)"))
    wait_for(lambda: starts(remote_folder(shared, run))["alpha"] == 1)
    wait_for((remote_folder(shared, run) / STEPS["beta"] / "stage.pre-start").exists)
    ((first, _),) = (line.split() for line in submitted(run))
    for name in containers(run):
        engine().containers.get(name).kill()
    wait_for(lambda: starts(remote_folder(shared, run))["alpha"] == 2)
    held = containers(run)
    assert held
    assert not [name for name in held if name.startswith(first)], "those of its successor"
    done = subprocess.run([PROCTOR, "kill", run.id], env=stack.env, capture_output=True, text=True, check=False)
    assert (done.returncode, living(run), containers(run)) == (0, [], []), done.stderr
    assert run.state == "Cancelled"


ODD = """-it's "$(touch {0}x)" `touch {0}x`; touch {0}x & ünï %j \\ #"""


def test_odd_names_paths_values_and_comments_arrive_as_they_are(
    stack: Stack, tmp_path: Path, shared: Path, endpoint: str
) -> None:
    folder, text = f"{ODD.format('')}\nline", ODD.format(f"{shared}/")
    script = "(out / 'seen').write_text(os.environ['WEIRD'] + os.environ['IT'])"
    settings = config(tmp_path / folder, shared / folder, endpoint, script, sbatch_comment=text)
    settings["evaluation"]["env_vars"] |= {"WEIRD": f"lit:{WEIRD}", "IT": f"lit:{text}"}
    run = stack.start("slurm", {**settings, "name": text})
    assert run.until() == "Completed", run.message
    for step in STEPS.values():
        assert (run.folder / step / "seen").read_text() == WEIRD + text
    (line,) = submitted(run)
    assert as_user("squeue", "-h", "-t", "all", "-j", line.split()[1], "-o", "%k").rstrip("\n") == text
    assert [path.name for path in shared.iterdir()] == [folder], "no shell has read it"


@pytest.mark.parametrize("image", ['proctor-test/it\'s "$(touch {0}/x)"; touch {0}/x:1', "-v{0}:/x", "ünï\nx"])
def test_an_odd_name_of_an_image_is_told_and_reaches_no_shell(
    stack: Stack, tmp_path: Path, shared: Path, endpoint: str, image: str
) -> None:
    place = shared / "results"
    name = image.format(shared)
    answer = stack.create("slurm", config(tmp_path, place, endpoint, "", name))
    if answer.status_code == 201:
        run = Run(stack, answer.json()["id"])
        assert run.until() == "Failed"
        assert repr(name).strip("'\"")[:8] in run.message + str(run.benchmarks()), run.message
    else:
        assert "container" in answer.text
    assert [path.name for path in shared.iterdir()] in ([], ["results"]), "no shell has read it"
