"""Export to Weights & Biases: one run for each evaluation, whose id is made of the flow run's."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proctor.blocks.errors import ExportError
from proctor.configs.errors import ConfigError
from proctor.configs.export_schema import WandbExport
from proctor.tasks.outgoing import Outgoing, described
from proctor.tasks.report import write_report

if TYPE_CHECKING:
    from wandb import Run


def export(sent: Outgoing, settings: WandbExport, folder: str) -> str:
    """Create the evaluation's run, or bring it up to date; the answer is its address, or its folder when offline."""
    import wandb  # noqa: PLC0415 (a second, and an optional package)

    if settings.mode == "online" and not (os.environ.get("WANDB_API_KEY") or has_login()):
        raise ConfigError("export.wandb: set WANDB_API_KEY (or run `wandb login`), or write export.wandb.mode: offline")
    place = Path(settings.dir or folder)
    place.mkdir(parents=True, exist_ok=True)
    before = offline_runs(place, run_id(sent))
    try:
        with wandb.init(**arguments(sent, settings, place)) as run:
            fill(run, sent)
            where = str(run.url) if settings.mode == "online" else str(Path(run.dir).parent)
    except wandb.Error as error:
        raise ExportError(f"Weights & Biases: {str(error).splitlines()[0][:300]}", again=True) from None
    finally:
        wandb.teardown()
    for old in before:
        shutil.rmtree(old, ignore_errors=True)
    return where


def arguments(sent: Outgoing, settings: WandbExport, place: Path) -> dict[str, Any]:
    """What names and describes the run."""
    import wandb  # noqa: PLC0415

    quiet = wandb.Settings(silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True)
    return {
        "id": run_id(sent),
        "resume": "allow",
        "project": settings.project,
        "entity": settings.entity,
        "name": settings.run_name or sent.title,
        "group": settings.group,
        "tags": [*settings.tags, sent.result.execution],
        "job_type": "evaluation",
        "config": described(sent.result),
        "mode": settings.mode,
        "dir": str(place),
        "settings": quiet,
    }


def run_id(sent: Outgoing) -> str:
    """The same for every export of one evaluation."""
    return f"proctor-{sent.result.evaluation}"


def fill(run: "Run", sent: Outgoing) -> None:
    """Scores as the run's summary, where a second export replaces them, and the files as one artifact."""
    import wandb  # noqa: PLC0415

    for each, score in sent.scores:
        run.summary[f"{each.benchmark}/{score.name}"] = score.value
        if score.stderr is not None:
            run.summary[f"{each.benchmark}/{score.name}.stderr"] = score.stderr
    run.summary["failed"] = [each.benchmark for each in sent.result.failed]
    if not sent.artifacts:
        return
    artifact = wandb.Artifact(run_id(sent), type="evaluation")
    with tempfile.TemporaryDirectory() as folder:
        for path in write_report(sent.result, Path(folder), ["json", "csv", "html"]).values():
            artifact.add_file(str(path))
        for file in sent.files:
            artifact.add_file(str(file.path), f"{file.folder}/{file.path.name}")
        run.log_artifact(artifact)


def offline_runs(place: Path, ident: str) -> list[Path]:
    """The folders of earlier offline exports of this evaluation."""
    return list((place / "wandb").glob(f"offline-run-*-{ident}"))


def has_login() -> bool:
    """Whether `wandb login` left a key on this machine."""
    netrc = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    return netrc.is_file() and "wandb" in netrc.read_text(errors="replace")
