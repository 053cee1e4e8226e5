"""Exports as part of an evaluation: tried again, with a receipt, and never at the cost of its scores."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.flows.stack import Stack
from tests.flows.test_evaluate import config
from tests.tasks.exporters.sheets import BOOK, sheets_api

pytestmark = pytest.mark.live


def exporting(tmp_path: Path, export: dict[str, Any]) -> dict[str, Any]:
    return {**config(tmp_path, "mmath_en"), "export": export}


def test_a_destination_that_was_busy_gets_the_scores_and_gives_a_receipt(stack: Stack, tmp_path: Path) -> None:
    with sheets_api(tmp_path) as (book, url, key_file):
        book.refuse = 503
        threading.Timer(8, lambda: setattr(book, "refuse", 0)).start()
        sheet = {"spreadsheet": BOOK, "service_account_file": str(key_file), "api_url": url}
        run = stack.start("simulated", exporting(tmp_path, {"destinations": ["local", "gsheets"], "gsheets": sheet}))
        assert run.until() == "Completed", run.message
        assert [row[:4] for row in book.sheets["proctor"][1:]] == [[run.id, "mmath.mmath_en", "mmath_en.accuracy", 0.5]]
    (receipt,) = json.loads(run.artifact("export-gsheets"))
    assert (receipt["scores"], receipt["destination"]) == (1, "gsheets")
    (local,) = json.loads(run.artifact("export-local"))
    assert str(run.folder / "results.json") in local["where"]


def test_a_destination_without_an_address_hides_no_scores(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("simulated", exporting(tmp_path, {"destinations": ["mlflow", "gsheets", "local"]}))
    assert run.until() == "Completed"
    assert "1 of 1 benchmarks have scores" in run.message
    assert "not exported to mlflow: export.mlflow.tracking_uri: name the server here" in run.message
    assert "not exported to gsheets: export.gsheets.spreadsheet: give the id" in run.message
    assert run.artifact("results")["benchmarks"][0]["scores"][0]["value"] == 0.5
    assert (run.folder / "results.json").exists()
    assert run.artifact("export-mlflow") is None
