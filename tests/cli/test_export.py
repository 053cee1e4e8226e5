"""`proctor export`, for one evaluation and for several, to files and elsewhere."""

import json
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.cli.machine import Machine
from tests.tasks.exporters.sheets import BOOK, sheets_api
from tests.tasks.exporters.test_wandb import records

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


def test_the_config_of_an_evaluation_says_where_and_how(machine: Machine, tmp_path: Path) -> None:
    own = ["export.local.output_dir=mine", "export.local.format=[markdown]", "export.destinations=[]"]
    evaluation = machine.detached("execution.step_seconds=0.2", *own)
    assert machine.run("status", evaluation, "--watch").returncode == 0
    elsewhere = Machine(machine.home, tmp_path)
    done = elsewhere.run("export", evaluation)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(machine.work / "mine" / "results.md")]
    done = elsewhere.run("export", evaluation, "--format", "csv", "-o", "export.local.output_dir=here")
    assert done.stdout.split() == ["here/results.csv"]
    assert (tmp_path / "here" / "results.csv").exists()


def test_one_that_has_no_results_stops_no_other(machine: Machine, two: list[str], tmp_path: Path) -> None:
    waits = machine.detached("execution.step_seconds=300")
    try:
        done = machine.run("export", "ffffffff", waits, *two, "--output-dir", str(tmp_path))
    finally:
        machine.run("kill", waits)
    assert done.returncode == 1
    assert done.stdout.split() == [str(tmp_path / each / "results.json") for each in two]
    unknown, empty = done.stderr.splitlines()
    assert unknown.startswith("proctor: there is no evaluation 'ffffffff'")
    assert empty.startswith(f"proctor: evaluation {waits} has no results")


def test_files_that_are_not_here_are_named(machine: Machine, tmp_path: Path) -> None:
    evaluation = machine.detached("execution.step_seconds=0.2")
    assert machine.run("status", evaluation, "--watch").returncode == 0
    shutil.rmtree(machine.json("info", evaluation)["output_dir"])
    done = machine.run("export", evaluation, "--artifacts", "--output-dir", str(tmp_path))
    assert done.returncode == 0
    words = "is exported without the files of mmath.mmath_en, mmath.mmath_zh: they are not on this machine"
    assert f"proctor: {evaluation} {words}" in done.stderr


def test_mlflow_and_wandb_have_each_evaluation_once(
    machine: Machine, two: list[str], mlflow_server: str, tmp_path: Path
) -> None:
    for _ in range(2):
        done = machine.run(
            *("export", *two, "--dest", "mlflow", "-o", "experiment_name=by-hand", "-o", "tags.team=eval"),
            MLFLOW_TRACKING_URI=mlflow_server.replace("://", "://team:canary@"),
        )
        assert done.returncode == 0, done.stderr
        assert "canary" not in done.stdout + done.stderr
        options = ["-o", "wandb.mode=offline", "-o", f"export.wandb.dir={tmp_path}"]
        done = machine.run("export", two[0], "--dest", "wandb", *options)
        assert done.returncode == 0, done.stderr
    client = MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name("by-hand")
    assert experiment
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.tags["proctor.evaluation"] for run in runs) == sorted(two)
    assert {run.data.tags["team"] for run in runs} == {"eval"}
    assert {run.data.metrics["mmath.mmath_en/mmath_en.accuracy"] for run in runs} == {0.5}
    (offline,) = (tmp_path / "wandb").glob("offline-run-*")
    (begun,) = [each.run for each in records(next(offline.glob("*.wandb"))) if each.HasField("run")]
    assert begun.run_id == f"proctor-{two[0]}"
    receipts = machine.json("info", two[0])["exports"]
    assert {each["destination"] for each in receipts} >= {"mlflow", "wandb"}
    assert "canary" not in json.dumps(receipts)


def test_a_key_file_lies_where_the_config_means_it(machine: Machine, tmp_path: Path) -> None:
    with sheets_api(tmp_path) as (book, url, key_file):
        shutil.copy(key_file, machine.work / "key.json")
        sheet = {"spreadsheet": BOOK, "service_account_file": "key.json", "api_url": url}
        own = [f"export.gsheets.{name}={value}" for name, value in sheet.items()]
        evaluation = machine.detached("execution.step_seconds=0.2", *own)
        assert machine.run("status", evaluation, "--watch").returncode == 0
        done = Machine(machine.home, tmp_path).run("export", evaluation, "--dest", "gsheets")
        assert done.returncode == 0, done.stderr
        assert [row[0] for row in book.sheets["proctor"][1:]] == [evaluation, evaluation]


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
        (["--dest", "mlflow", "-o", "tracking=x"], "did you mean 'export.mlflow.tracking_uri'?"),
        (
            ["--dest", "mlflow", "-o", "export.wandb.run_name=x"],
            "-o export.wandb.run_name=x: this is an export to mlflow",
        ),
        (["--dest", "mlflow", "--format", "csv"], "--format and --output-dir are for --dest local, not for mlflow"),
        (["--dest", "wandb", "-o", "mode=no"], "export.wandb.mode: Input should be"),
        (["--metrics", "nothing"], "export.local.metrics: no score matches"),
    ],
)
def test_a_mistake_is_one_sentence(machine: Machine, two: list[str], options: list[str], words: str) -> None:
    done = machine.run("export", two[0], *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
