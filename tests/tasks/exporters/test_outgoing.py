"""What leaves for a destination, and what is told when nothing can."""

import os
import sys
from pathlib import Path

import pytest

from proctor.blocks.errors import ExportError
from proctor.configs.export_schema import GsheetsExport, LocalExport, MlflowExport, WandbExport
from proctor.tasks.exporters.dispatch import send
from proctor.tasks.outgoing import outgoing, without_login
from tests.tasks.exporters.results import output, result


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ([], ["AIME2024.accuracy", "pass@1"]),
        (["*.accuracy"], ["AIME2024.accuracy"]),
        (["mmath.mmath_en/pass@?"], ["pass@1"]),
    ],
)
def test_patterns_choose_scores(patterns: list[str], names: list[str]) -> None:
    sent = outgoing(result(), "local", LocalExport(metrics=patterns))
    assert [score.name for _, score in sent.scores] == names
    assert [each.benchmark for each in sent.result.failed] == ["bfcl.simple"], "failures are never hidden"


def test_a_pattern_that_matches_nothing_is_told() -> None:
    with pytest.raises(ExportError, match=r"export.local.metrics: no score matches .*AIME2024.accuracy") as caught:
        send(result(), "local", LocalExport(metrics=["acc"]), ".")
    assert not caught.value.again


def test_local_files_and_artifacts_but_no_cache(tmp_path: Path) -> None:
    folder = output(tmp_path / "run" / "mmath_en.0")
    settings = LocalExport(format=["csv", "markdown"], output_dir=str(tmp_path / "out"), artifacts=True)
    for _ in range(2):
        receipt = send(result(folder), "local", settings, str(tmp_path / "run"))
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert found == ["mmath_en.0/harness.log", "mmath_en.0/results.yml", "results.csv", "results.md"]
    assert (receipt.scores, receipt.files) == (2, 2)
    table = (tmp_path / "out" / "results.md").read_text()
    assert "| mmath.mmath\\_en | AIME2024.accuracy | 0.5 | 0.08 | 30 | – |" in table
    assert "bfcl.simple has no scores (FAILED): timed out" in table


def test_artifacts_that_lie_where_they_belong_stay(tmp_path: Path) -> None:
    folder = output(tmp_path / "mmath_en.0")
    send(result(folder), "local", LocalExport(artifacts=True), str(tmp_path))
    assert (folder / "harness.log").read_text() == "it ran\n"


@pytest.mark.parametrize(
    ("destination", "settings", "words"),
    [
        ("local", LocalExport(output_dir="/proc/nowhere"), "export.local.output_dir: /proc/nowhere: "),
        ("mlflow", MlflowExport(), "export.mlflow.tracking_uri: name the server here, or in MLFLOW_TRACKING_URI"),
        ("wandb", WandbExport(), "export.wandb: set WANDB_API_KEY"),
        ("gsheets", GsheetsExport(), "export.gsheets.spreadsheet: give the id"),
        ("gsheets", GsheetsExport(spreadsheet="x"), "export.gsheets.service_account_file: name it here"),
        ("gsheets", GsheetsExport(spreadsheet="x", service_account_file="/nowhere.json"), "there is no file /nowhere"),
    ],
)
def test_mistakes_are_one_sentence_and_not_tried_again(
    destination: str, settings: LocalExport, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("MLFLOW", "WANDB", "GOOGLE"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(ExportError) as caught:
        send(result(), destination, settings, str(tmp_path))  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert not caught.value.again


def test_what_a_library_raises_that_nobody_knows_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "wandb").write_text("a file where a folder must be")
    with pytest.raises(ExportError, match=r"^wandb: \w+Error: ") as caught:
        send(result(), "wandb", WandbExport(mode="offline", dir=str(tmp_path / "wandb")), ".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://me:secret@host:5000/a, http://token@b/c", "https://host:5000/a, http://b/c"),
        ("request to 'https://me:se@cret@host/x' failed", "request to 'https://host/x' failed"),
        ("mail somebody@example.test about http://host/a", "mail somebody@example.test about http://host/a"),
    ],
)
def test_no_login_stays_in_what_is_said(text: str, left: str) -> None:
    assert without_login(text) == left


@pytest.mark.parametrize(("destination", "package"), [("mlflow", "mlflow"), ("wandb", "wandb"), ("gsheets", "gspread")])
def test_a_missing_library_is_named(destination: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    settings = {"mlflow": MlflowExport(tracking_uri="x"), "wandb": WandbExport(mode="offline"), "gsheets": None}
    chosen = settings[destination] or GsheetsExport(spreadsheet="x", service_account_file=__file__)
    with pytest.raises(ExportError, match=rf"pip install 'proctor\[{destination}\]'"):
        send(result(), destination, chosen, ".")  # type: ignore[arg-type]
