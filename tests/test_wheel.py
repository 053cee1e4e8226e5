"""The wheel, built, looked into, installed into an environment of its own, and used from there."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
ROOMS = ("flows", "tasks", "blocks", "configs", "cli", "demo")
UV = str(Path(sys.executable).parent / "uv")
BUILT = shutil.ignore_patterns(".venv", ".git", "build", "dist", "*.egg-info", "results", "__pycache__")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing of it is left here."""
    place = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, place / "source", symlinks=True, ignore=BUILT)
    build = [UV, "build", "--wheel", "--no-build-isolation", "-q", "-o", str(place / "dist"), str(place / "source")]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = (place / "dist").glob("*.whl")
    return found


def test_it_holds_everything_of_ours_and_only_proctor(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if not re.match(r"proctor/|proctor-[0-9.]+\.dist-info/", name)]
    ours = {path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()}
    wanted = {
        str(path) for path in ours if not {"__pycache__", "build"} & set(path.parts) and ".egg-info" not in str(path)
    }
    assert {"blocks/wrapper/step.sh", "demo/lock/model.txt", "demo/harness/pyproject.toml"} <= wanted
    assert {f"proctor/{name}" for name in wanted} - set(names) == set()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `proctor` of a fresh environment with the wheel in it, beside the dependencies that are installed here."""
    place = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([UV, "venv", "-q", "--offline", "--python", sys.executable, str(place)], check=True)
    python = str(place / "bin" / "python")
    subprocess.run([UV, "pip", "install", "-q", "--offline", "--no-deps", "--python", python, str(wheel)], check=True)
    (site,) = (place / "lib").glob("python*/site-packages")
    # a plain path: the editable install that is there too does not count, as its own .pth files are not read
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "bin" / "proctor"


def run(installed: Path, folder: Path, *arguments: str) -> str:
    own = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "PROCTOR", "PYTHON"))}
    done = subprocess.run(
        [str(installed), *arguments], cwd=folder, env=own, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_works_where_it_is_installed(installed: Path, tmp_path: Path) -> None:
    for name in ("flows", "tasks", "configs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('a folder of the user has that name')\n")
    listed = json.loads(run(installed, tmp_path, "ls", "tasks", "--json"))
    assert len([row for row in listed if row["container"]]) == 421
    assert "step.sh" not in run(installed, tmp_path, "--version")
    example = ("run", "--config-dir", "examples", "--config-name", "slurm_llama_3_1_8b_instruct", "--dry-run")
    shown = run(installed, tmp_path, *example)
    assert "#SBATCH" in shown
    assert "type: hellaswag" in shown
    where = "import proctor.flows.evaluate as e, proctor.demo as d; print(e.__file__, d.__file__)"
    python = installed.with_name("python")
    done = subprocess.run([str(python), "-c", where], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert all(str(installed.parent.parent) in path for path in done.stdout.split())
