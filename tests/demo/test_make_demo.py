"""`make demo` as a newcomer runs it: from a checkout in which nothing is installed, with no stack and no environments yet."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.waiting import wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(2400)]
ROOT = Path(__file__).parents[2]
MADE = shutil.ignore_patterns(".venv", ".git", "build", "*.egg-info", "results", "__pycache__", ".*_cache")
SECONDS = 1800
"""On two cores without other work it takes two minutes, installation included."""


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """The files of the repository, and nothing that `make` made of them; its stack is taken down at the end."""
    place = tmp_path / "checkout"
    shutil.copytree(ROOT, place, symlinks=True, ignore=MADE)
    yield place
    if (proctor := place / ".venv" / "bin" / "proctor").exists():
        subprocess.run([proctor, "down"], env=shell(place), cwd=place, check=False)
    shutil.rmtree(place)


def shell(checkout: Path) -> dict[str, str]:
    """A shell that knows of no Prefect server and no Proctor, and whose Proctor keeps its things beside the checkout."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "PROCTOR", "VIRTUAL"))}
    return {**own, "PROCTOR_HOME": str(checkout.parent / "home"), "COLUMNS": "200"}


def left_over(place: Path) -> list[str]:
    """The command lines of processes that have to do with a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            known = [process.cwd(), *process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(str(place) in each for each in known):
            found.append(" ".join(process.cmdline()))
    return found


def test_it_ends_with_scores_a_report_and_the_page_in_prefect(checkout: Path) -> None:
    done = subprocess.run(
        ["make", "demo"],
        env=shell(checkout),
        cwd=checkout,
        text=True,
        capture_output=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout[done.stdout.index("benchmark ") :].splitlines()
    assert lines[0].split() == ["benchmark", "metric", "value", "stderr", "samples", "time"]
    scored = [line.split() for line in lines if line.startswith(("primer.", "mmath.", "bfcl."))]
    benchmarks = {"primer.primer_facts", "mmath.mmath_en", "bfcl.bfclv2_ast_prompting"}
    assert {row[0] for row in scored} == benchmarks
    (facts,) = (row for row in scored if row[0] == "primer.primer_facts")
    assert (facts[1], facts[4]) == ("primer_facts.accuracy", "40")
    assert float(facts[2]) > 0.2

    said = dict(line.split(maxsplit=1) for line in lines if line.startswith(("results ", "report ", "ui ")))
    results = json.loads(Path(said["results"]).read_text())
    assert Path(said["results"]).is_relative_to(checkout / "results")
    assert {each["benchmark"] for each in results["benchmarks"]} == benchmarks
    assert "primer_facts.accuracy" in Path(said["report"]).read_text()
    assert said["ui"].startswith("http://127.0.0.1:")
    assert results["flow_run_id"] in said["ui"]

    proctor = checkout / ".venv" / "bin" / "proctor"
    subprocess.run([proctor, "down"], env=shell(checkout), cwd=checkout, check=True)
    wait_for(lambda: not left_over(checkout.parent), 30)
