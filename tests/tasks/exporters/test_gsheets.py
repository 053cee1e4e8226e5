"""Export to Google Sheets: the real client library against a stand-in of the API."""

from pathlib import Path

import pytest

from proctor.blocks.errors import ExportError
from proctor.configs.export_schema import GsheetsExport
from proctor.tasks.exporters.dispatch import send
from tests.tasks.exporters.results import result
from tests.tasks.exporters.sheets import BOOK, Book, sheets_api


def settings(url: str, key_file: Path, spreadsheet: str = BOOK) -> GsheetsExport:
    return GsheetsExport(spreadsheet=spreadsheet, service_account_file=str(key_file), api_url=url)


def scores(book: Book) -> list[list[object]]:
    return [row[:6] for row in book.sheets["proctor"]]


def test_exporting_twice_updates_our_rows_and_leaves_others_alone(tmp_path: Path) -> None:
    foreign = ["00000000", "somebody", "else", 1]
    head = ["evaluation", "benchmark", "metric", "value", "stderr", "samples"]
    with sheets_api(tmp_path) as (book, url, key_file):
        send(result(), "gsheets", settings(url, key_file), ".")
        book.sheets["proctor"].insert(1, foreign)
        receipt = send(result(value=0.75), "gsheets", settings(url, key_file), ".")
        assert scores(book) == [
            head,
            foreign,
            ["3f2a91bc", "mmath.mmath_en", "AIME2024.accuracy", 0.75, 0.08, 30],
            ["3f2a91bc", "mmath.mmath_en", "pass@1", 0.25, "", ""],
        ]
    assert receipt.where.startswith(f"https://docs.google.com/spreadsheets/d/{BOOK}")


def test_two_evaluations_that_make_the_sheet_at_once_both_have_their_rows(tmp_path: Path) -> None:
    with sheets_api(tmp_path) as (book, url, key_file):
        other = result().model_copy(update={"evaluation": "0ther000"})
        book.meanwhile[f"{BOOK}:batchUpdate"] = lambda: send(other, "gsheets", settings(url, key_file), ".")
        send(result(), "gsheets", settings(url, key_file), ".")
        assert [row[0] for row in book.sheets["proctor"]] == ["evaluation", *["0ther000"] * 2, *["3f2a91bc"] * 2]


def test_a_row_that_is_put_above_ours_at_the_same_moment_is_noticed_and_mended(tmp_path: Path) -> None:
    with sheets_api(tmp_path) as (book, url, key_file):
        send(result(), "gsheets", settings(url, key_file), ".")
        book.meanwhile["/values:batchUpdate"] = lambda: book.sheets["proctor"].insert(1, ["somebody"])
        with pytest.raises(ExportError, match="somebody else changed the sheet") as caught:
            send(result(value=0.75), "gsheets", settings(url, key_file), ".")
        assert caught.value.again
        send(result(value=0.75), "gsheets", settings(url, key_file), ".")
        ours = [row[:4] for row in book.sheets["proctor"][1:] if row]
        assert sorted(ours) == [
            ["3f2a91bc", "mmath.mmath_en", "AIME2024.accuracy", 0.75],
            ["3f2a91bc", "mmath.mmath_en", "pass@1", 0.25],
        ]


def test_the_same_evaluation_exported_twice_at_once_has_each_row_once(tmp_path: Path) -> None:
    with sheets_api(tmp_path) as (book, url, key_file):
        send(result().model_copy(update={"benchmarks": []}), "gsheets", settings(url, key_file), ".")
        book.meanwhile[":append"] = lambda: send(result(), "gsheets", settings(url, key_file), ".")
        with pytest.raises(ExportError, match="somebody else changed the sheet"):
            send(result(), "gsheets", settings(url, key_file), ".")
        send(result(), "gsheets", settings(url, key_file), ".")
        assert len([row for row in book.sheets["proctor"][1:] if row]) == 2


@pytest.mark.parametrize(
    ("status", "again", "words"),
    [(403, False, "and share it, for editing, with the client_email"), (429, True, "429"), (503, True, "503")],
)
def test_a_refusal_says_what_to_do_and_whether_to_try_again(
    tmp_path: Path, status: int, again: bool, words: str
) -> None:
    with sheets_api(tmp_path) as (book, url, key_file):
        book.refuse = status
        with pytest.raises(ExportError, match=words) as caught:
            send(result(), "gsheets", settings(url, key_file), ".")
    assert caught.value.again is again


def test_an_unknown_spreadsheet_is_a_mistake(tmp_path: Path) -> None:
    with sheets_api(tmp_path) as (_, url, key_file), pytest.raises(ExportError) as caught:
        send(result(), "gsheets", settings(url, key_file, "elsewhere"), ".")
    assert not caught.value.again
    assert "export.gsheets.spreadsheet: Google refuses elsewhere" in str(caught.value)


def test_an_api_that_is_away_is_worth_another_try(tmp_path: Path) -> None:
    with sheets_api(tmp_path) as (_, _url, key_file):
        pass
    with pytest.raises(ExportError) as caught:
        send(result(), "gsheets", settings("http://127.0.0.1:1", key_file), ".")
    assert "cannot be reached" in str(caught.value)
    assert caught.value.again
