"""What leaves for one destination: the wanted scores and files, and the receipt for them. Pure but for looking at files."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from proctor.configs.errors import ConfigError
from proctor.configs.export_schema import Destination, DestinationSettings
from proctor.configs.fields import base_folder
from proctor.tasks.results import BenchmarkResult, EvaluationResult, Score

ARTIFACTS = (
    "results.yml",
    "run_config.yml",
    "eval_factory_metrics.json",
    "metadata.yaml",
    "report.html",
    "harness.log",
)
"""What of a benchmark's output folder is exported on request: small files, never a cache."""


@dataclass(frozen=True, slots=True)
class OutgoingFile:
    """A file of this machine and its folder at the destination."""

    path: Path
    folder: str


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An evaluation as one destination gets it."""

    result: EvaluationResult
    """With the wanted scores only."""
    artifacts: bool = False
    """Whether the report and the benchmarks' files are wanted, too."""
    files: tuple[OutgoingFile, ...] = ()
    missing: tuple[str, ...] = ()
    """Benchmarks whose files are wanted, and lie on another machine or nowhere."""

    @property
    def scores(self) -> Iterator[tuple[BenchmarkResult, Score]]:
        """Every score with its benchmark."""
        return ((each, score) for each in self.result.benchmarks for score in each.scores)

    @property
    def title(self) -> str:
        """The evaluation in a list of others."""
        return f"{self.result.name} {self.result.evaluation}"

    @property
    def digest(self) -> str:
        """SHA-256 of the scores, their names and what they belong to."""
        said = [f"{each.benchmark}/{score.name}={score.value!r}" for each, score in self.scores]
        return hashlib.sha256("\n".join([self.result.flow_run_id, *said]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Receipt:
    """That a destination has the scores of an evaluation."""

    destination: str
    where: str
    scores: int
    files: int
    digest: str
    exported: str
    missing: str = ""
    """Benchmarks whose files could not be exported from here."""

    def row(self) -> dict[str, str | float | int | None]:
        """The receipt as a row of a table."""
        return asdict(self)


def outgoing(result: EvaluationResult, destination: Destination, settings: DestinationSettings) -> Outgoing:
    """What a destination gets. Raises ConfigError when its patterns leave no score of those that there are."""
    every = [(each, score) for each in result.benchmarks for score in each.scores]
    if every and settings.metrics and not any(wanted(*each, settings.metrics) for each in every):
        names = ", ".join(score.name for _, score in every[:5])
        raise ConfigError(f"export.{destination}.metrics: no score matches {settings.metrics}; there are {names}")
    chosen = [
        each.model_copy(update={"scores": [score for score in each.scores if wanted(each, score, settings.metrics)]})
        for each in result.benchmarks
    ]
    slim = result.model_copy(update={"benchmarks": chosen})
    if not settings.artifacts:
        return Outgoing(slim)
    missing = [each.benchmark for each in result.benchmarks if each.output and not Path(each.output).is_dir()]
    return Outgoing(slim, True, tuple(artifacts(result)), tuple(missing))


def wanted(benchmark: BenchmarkResult, score: Score, patterns: Sequence[str]) -> bool:
    """Whether a pattern names this score; without patterns every score is wanted."""
    names = (score.name, f"{benchmark.benchmark}/{score.name}")
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def artifacts(result: EvaluationResult) -> Iterator[OutgoingFile]:
    """The files of every benchmark that are there."""
    for each in result.benchmarks:
        for name in ARTIFACTS:
            path = Path(each.output, name)
            if each.output and path.is_file():
                yield OutgoingFile(path, each.step)


def receipt(destination: Destination, where: str, sent: Outgoing) -> Receipt:
    """The receipt for what a destination has taken."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    count = len(list(sent.scores))
    return Receipt(destination, where, count, len(sent.files), sent.digest, now, ", ".join(sent.missing))


def described(result: EvaluationResult) -> dict[str, Any]:
    """What the evaluation's scores depend on, by name: for the tags and parameters of a run elsewhere."""
    facts: dict[str, Any] = {"model": result.model, "execution": result.execution}
    for each in result.benchmarks:
        if each.provenance:
            image = each.provenance.image_digest or each.provenance.image
            found = {"config_hash": each.provenance.config_hash, "image": image, **each.provenance.params}
            facts |= {f"{each.benchmark}.{key}": value for key, value in found.items() if value is not None}
    return facts


def located(settings: DestinationSettings, base_dir: str | None) -> DestinationSettings:
    """The settings with their relative paths where the config means them: below its own folder."""
    paths = {name: getattr(settings, name, None) for name in ("output_dir", "dir", "service_account_file")}
    known = {name: str(base_folder(base_dir) / Path(path).expanduser()) for name, path in paths.items() if path}
    return settings.model_copy(update=known)


def without_login(text: str) -> str:
    """A text in which no URL tells a user's name or password."""
    return re.sub(r"(?<=://)[^/\s'\"]*@", "", text)
