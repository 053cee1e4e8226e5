"""`proctor export`, for one evaluation and for several, to files and elsewhere."""

import json
from pathlib import Path

import pytest

from tests.cli.machine import Machine
from tests.tasks.exporters.sheets import BOOK, sheets_api

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def two(machine: Machine) -> list[str]:
    """Two evaluations that ended well."""
    found = [machine.detached("execution.step_seconds=0.2") for _ in range(2)]
    for each in found:
        assert machine.run("status", each, "--watch").returncode == 0
    return found


def test_several_evaluations_get_a_folder_each(machine: Machine, two: list[str], tmp_path: Path) -> None:
    options = ["--format", "markdown", "--artifacts", "--metrics", "mmath.mmath_en/*", "--output-dir", str(tmp_path)]
    done = machine.run("export", *two, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / each / "results.md") for each in two]
    assert (tmp_path / two[0] / "mmath_en.0" / "harness.log").exists()
    assert "| 0.5 |" in (tmp_path / two[1] / "results.md").read_text()


def test_a_sheet_gets_each_evaluation_once_and_info_tells(machine: Machine, two: list[str], tmp_path: Path) -> None:
    with sheets_api(tmp_path) as (book, url, key_file):
        options = ["--dest", "gsheets", "-o", f"spreadsheet={BOOK}", "-o", f"export.gsheets.api_url={url}"]
        for _ in range(2):
            done = machine.run("export", *two, *options, GOOGLE_APPLICATION_CREDENTIALS=str(key_file))
            assert done.returncode == 0, done.stderr
        assert [row[0] for row in book.sheets["proctor"][1:]] == [two[0], two[0], two[1], two[1]]
    assert "exported" in machine.run("info", two[0]).stdout
    receipts = machine.json("info", two[0])["exports"]
    assert {each["destination"] for each in receipts} >= {"gsheets", "local"}
    assert json.dumps(receipts).count(BOOK) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--dest", "mlflow"], "export.mlflow.tracking_uri: name the server here"),
        (["--dest", "mlflow", "-o", "tracking=x"], "export.mlflow.tracking: Extra inputs"),
        (["--metrics", "nothing"], "export.local.metrics: no score matches"),
    ],
)
def test_a_mistake_is_one_sentence(machine: Machine, two: list[str], options: list[str], words: str) -> None:
    done = machine.run("export", two[0], *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
