"""From the output folder of a benchmark to typed scores with their provenance; pure but for reading files.

The files are those of NVIDIA's NeMo Evaluator 0.2: `results.yml`, `run_config.yml`, `eval_factory_metrics.json`. The
document that `EvaluationResult` describes is `results.json`; docs/results.md explains it.
"""

import json
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from proctor.blocks.errors import ResultError

SCHEMA_VERSION = 1


class Document(BaseModel):
    """A part of results.json: frozen. What another version wrote into it besides is not read."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class Score(Document):
    """One number that a benchmark reports."""

    name: str = Field(description="`task.metric.score`, or shorter where metric and score have the same name.")
    value: float
    stderr: float | None = Field(None, description="Standard error as the harness reports it; never computed by us.")
    samples: int | None = Field(None, description="Number of samples behind the value, where the harness says.")
    group: bool = Field(False, description="Whether it summarises several tasks.")
    change: float | None = Field(None, description="Difference to the previous comparable run of the same deployment.")


class Provenance(Document):
    """What a score depends on: two results are comparable only where these agree."""

    isolation: Literal["container", "venv", "none"]
    image: str | None = Field(None, description="The image that was asked for.")
    image_digest: str | None = Field(
        None, description="The digest of the image that really ran; null where nobody can tell."
    )
    packages: list[str] = Field(
        default_factory=list, description="Installed packages, `name==version`, without a container."
    )
    server_image: str | None = Field(None, description="The image of the model server that was started.")
    server_image_digest: str | None = Field(None, description="The digest of the one that really ran.")
    model: str = Field(description="The model's name in requests.")
    models_served: list[str] = Field(default_factory=list, description="The models that the server itself listed.")
    endpoint: str
    endpoint_type: str
    params: dict[str, Any] = Field(
        default_factory=dict, description="Sampling parameters and seeds that the harness ran with."
    )
    config_hash: str
    proctor_version: str
    harness_versions: dict[str, str] = Field(default_factory=dict)
    git_commit: str | None = None


class BenchmarkResult(Document):
    """One benchmark of an evaluation: its scores, or why it has none."""

    benchmark: str
    step: str
    state: Literal["COMPLETED", "FAILED", "CANCELLED", "UNKNOWN"]
    message: str = ""
    scores: list[Score] = Field(default_factory=list)
    started: datetime | None = None
    ended: datetime | None = None
    attempts: int = 1
    requests: int | None = Field(
        None,
        description="Answers that came from the endpoint, all attempts together; those of the response cache do not count.",
    )
    output: str = Field("", description="The folder with everything the harness wrote.")
    compared_with: str | None = Field(None, description="The evaluation that its changes refer to.")
    provenance: Provenance | None = None

    @property
    def seconds(self) -> float | None:
        """Wall-clock seconds of the harness."""
        return (self.ended - self.started).total_seconds() if self.started and self.ended else None


class EvaluationResult(Document):
    """results.json: one document for each evaluation."""

    schema_version: int = SCHEMA_VERSION
    evaluation: str
    flow_run_id: str = ""
    name: str
    model: str
    execution: str
    started: datetime | None = None
    ended: datetime | None = None
    compared_with: str | None = Field(None, description="The newest evaluation that changes refer to.")
    benchmarks: list[BenchmarkResult]

    @property
    def failed(self) -> list[BenchmarkResult]:
        """The benchmarks without a score of their own making."""
        return [each for each in self.benchmarks if each.state != "COMPLETED"]


def read_scores(folder: Path) -> tuple[list[Score], str]:
    """The scores in a benchmark's results.yml, tasks before groups, and a remark about those that are no finite number.

    Raises ResultError, naming file and key, when it is missing, is no YAML, or holds no score.
    """
    path = folder / "results.yml"
    document = read_yaml(path)
    results = document.get("results")
    if not isinstance(results, dict):
        raise ResultError(f"{path}: there is no section `results`")
    tasks = list(section_scores(path, results.get("tasks") or {}, "results.tasks", group=False))
    groups = list(section_scores(path, results.get("groups") or {}, "results.groups", group=True))
    names = {score.name for score in tasks}
    scores = tasks + [score for score in groups if score.name not in names]
    if not scores:
        raise ResultError(f"{path}: neither results.tasks nor results.groups holds a score")
    finite = [score for score in scores if math.isfinite(score.value)]
    left_out = ", ".join(f"{score.name} is {score.value}" for score in scores if not math.isfinite(score.value))
    if not finite:
        raise ResultError(f"{path}: no score is a number: {left_out}")
    return finite, f"left out, because it is no number: {left_out}" if left_out else ""


def section_scores(path: Path, section: Any, key: str, *, group: bool, prefix: str = "") -> Iterator[Score]:
    """The scores of `results.tasks` or `results.groups`, groups of groups included."""
    for name, content in mapping(path, section, key).items():
        where = f"{key}.{name}"
        for metric, body in mapping(
            path, mapping(path, content, where).get("metrics") or {}, f"{where}.metrics"
        ).items():
            inner = mapping(
                path, mapping(path, body, f"{where}.metrics.{metric}").get("scores") or {}, f"{where}.{metric}"
            )
            for score, value in inner.items():
                full = f"{prefix}{name}.{metric}" + (f".{score}" if score != metric else "")
                yield one_score(path, full, value, f"{where}.metrics.{metric}.scores.{score}", group=group)
        nested = content.get("groups") or {}
        yield from section_scores(path, nested, f"{where}.groups", group=True, prefix=f"{prefix}{name}.")


def one_score(path: Path, name: str, content: Any, key: str, *, group: bool) -> Score:
    """One score with its statistics. Raises ResultError when it has no number."""
    body = mapping(path, content, key)
    value, stats = body.get("value"), body.get("stats") or {}
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ResultError(f"{path}: {key}.value is {value!r}, not a number")
    count, stderr = stats.get("count"), stats.get("stderr")
    return Score(
        name=name,
        value=float(value),
        stderr=float(stderr) if isinstance(stderr, int | float) and math.isfinite(stderr) else None,
        samples=int(count) if isinstance(count, int | float) and math.isfinite(count) else None,
        group=group,
    )


def mapping(path: Path, value: Any, key: str) -> Mapping[str, Any]:
    """A value that must be a mapping. Raises ResultError, naming its key, when it is none."""
    if not isinstance(value, dict):
        raise ResultError(f"{path}: {key} is a {type(value).__name__}, not a mapping")
    return value


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping from a file of the harness. Raises ResultError."""
    try:
        document = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ResultError(f"{path} is missing: the harness ended without writing its results") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ResultError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise ResultError(f"{path} is empty or cut off: it holds no mapping")
    return document


def read_requests(folder: Path) -> int | None:
    """Answered requests that the harness's adapter counted, which counts no cached answer; None where it does not say."""
    try:
        requests = json.loads((folder / "eval_factory_metrics.json").read_text())["response_stats"]["count"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return requests if isinstance(requests, int) else None


def read_params(folder: Path) -> dict[str, Any]:
    """The parameters that the harness really ran with, from its merged run config; empty when it left none."""
    for name in ("run_config.yml", "results.yml"):
        try:
            params = read_yaml(folder / name)["config"]["params"]
        except (ResultError, KeyError, TypeError):
            continue
        return (
            {key: value for key, value in params.items() if value not in (None, {})} if isinstance(params, dict) else {}
        )
    return {}


def read_models_served(folder: Path) -> list[str]:
    """The models that the server listed just before the harness ran."""
    try:
        listing = json.loads((folder / "server-models.json").read_text())
        return [str(model["id"]) for model in listing["data"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def read_packages(folder: Path) -> list[str]:
    """What was installed in the environment of a step without a container."""
    try:
        return (folder / "environment.txt").read_text().split("\n")[:-1]
    except OSError:
        return []


def read_harness_versions(folder: Path) -> dict[str, str]:
    """Versions that the harness wrote down about itself, and those of its packages."""
    found: dict[str, str] = {}
    for name in ("results.yml", "metadata.yaml"):
        try:
            document = read_yaml(folder / name)
        except ResultError:
            continue
        versioning = (document.get("metadata") or document).get("versioning") or {}
        found |= {str(key): str(value) for key, value in versioning.items()} if isinstance(versioning, dict) else {}
    packages = dict(line.split("==", 1) for line in read_packages(folder) if "==" in line)
    return found | {
        name: version for name, version in packages.items() if name.startswith(("nvidia-", "nemo-evaluator"))
    }


def score_rows(result: EvaluationResult) -> list[dict[str, str | float | int | None]]:
    """One row a score, and one for each benchmark without any: benchmark, metric, value, stderr, samples, seconds, state."""
    rows: list[dict[str, str | float | int | None]] = []
    for each in result.benchmarks:
        base: dict[str, str | float | int | None] = {"benchmark": each.benchmark}
        rest: dict[str, str | float | int | None] = {
            "seconds": each.seconds,
            "state": each.state,
            "message": each.message,
        }
        if not each.scores:
            rows.append(
                {**base, "metric": None, "value": None, "stderr": None, "samples": None, "change": None, **rest}
            )
        for score in each.scores:
            rows.append({**base, **numbers(score), **rest})
    return rows


def numbers(score: Score) -> dict[str, str | float | int | None]:
    """The columns of one score."""
    return {
        "metric": score.name,
        "value": score.value,
        "stderr": score.stderr,
        "samples": score.samples,
        "change": score.change,
    }
