"""Export to Weights & Biases, in its offline mode: what `wandb sync` would send."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb.proto import wandb_internal_pb2

from proctor.configs.export_schema import WandbExport
from proctor.tasks.exporters.dispatch import send
from tests.tasks.exporters.results import output, result

BLOCK = 32768
HEADER = 7


def records(path: Path) -> Iterator[Any]:
    """What a .wandb file holds: records in the format of LevelDB's log, after a header of its own."""
    data, at, parts = path.read_bytes(), HEADER, b""
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + HEADER])
        parts += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in {1, 4}:
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
            record.ParseFromString(parts)
            yield record
            parts = b""


@pytest.mark.slow
def test_exporting_twice_leaves_one_offline_run_which_is_updated(tmp_path: Path) -> None:
    folder = output(tmp_path / "mmath_en.0")
    settings = WandbExport(mode="offline", project="nightly", tags=["team"], artifacts=True)
    send(result(folder), "wandb", settings, str(tmp_path))
    receipt = send(result(folder, value=0.75), "wandb", settings, str(tmp_path))
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    assert receipt.where == str(run)
    found = list(records(next(run.glob("*.wandb"))))
    (begun,) = [each.run for each in found if each.HasField("run")]
    assert (begun.run_id, begun.project, begun.display_name) == ("proctor-3f2a91bc", "nightly", "demo 3f2a91bc")
    assert list(begun.tags) == ["team", "local"]
    config = {each.key: json.loads(each.value_json) for each in begun.config.update}
    assert config["mmath.mmath_en.temperature"] == 0.0
    updates = [each for record in found if record.HasField("summary") for each in record.summary.update]
    summary = {(each.key or each.nested_key[0]): json.loads(each.value_json) for each in updates}
    assert summary["mmath.mmath_en/AIME2024.accuracy"] == 0.75
    assert summary["mmath.mmath_en/AIME2024.accuracy.stderr"] == 0.08
    assert summary["failed"] == ["bfcl.simple"]
    (artifact,) = [each for each in found if each.HasField("request") or each.HasField("artifact")][-1:]
    assert "mmath_en.0/harness.log" in str(artifact)
    assert "answers.db" not in str(found)


def test_the_report_is_sent_where_the_files_of_the_benchmarks_are_not(tmp_path: Path) -> None:
    elsewhere = result(tmp_path / "on another machine" / "mmath_en.0")
    receipt = send(elsewhere, "wandb", WandbExport(mode="offline", artifacts=True), str(tmp_path))
    assert (receipt.files, receipt.missing) == (0, "mmath.mmath_en")
    assert "report.html" in str(list(records(next(Path(receipt.where).glob("*.wandb")))))
