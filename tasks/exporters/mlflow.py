"""Export to an MLflow tracking server: one run for each evaluation, found again by its flow run id."""

import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proctor.blocks.errors import ExportError
from proctor.configs.errors import ConfigError
from proctor.configs.export_schema import MlflowExport
from proctor.tasks.outgoing import Outgoing, described
from proctor.tasks.report import write_report

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, Run, RunTag

KEY = "proctor.flow_run_id"
"""The tag that finds an evaluation's run again."""
LONGEST = 250
BATCH = 100
MISTAKES = {"INVALID_PARAMETER_VALUE", "PERMISSION_DENIED", "UNAUTHENTICATED", "BAD_REQUEST", "ENDPOINT_NOT_FOUND"}
"""What the server answers to a request that it will never accept."""
MANNERS = {
    # the task that exports tries again by itself, and looks first what is there: MLflow alone would wait for minutes without
    # a word, and make a second run where the answer about the first one was lost
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # it would print the address with its user and password
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""How MLflow behaves in here, where nobody has said otherwise."""


def export(sent: Outgoing, settings: MlflowExport, folder: str) -> str:
    """Create the evaluation's run, or bring it up to date; the answer is its address."""
    from mlflow import MlflowClient  # noqa: PLC0415 (a second, and an optional package)
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    uri = settings.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        raise ConfigError("export.mlflow.tracking_uri: name the server here, or in MLFLOW_TRACKING_URI")
    for name, value in MANNERS.items():
        os.environ.setdefault(name, value)
    try:
        client = MlflowClient(uri)
        run = run_of(client, sent, settings)
        fill(client, run, sent, settings)
    except MlflowException as error:
        raise ExportError(f"MLflow at {uri}: {words(str(error))}", again=error.error_code not in MISTAKES) from None
    return f"{uri.rstrip('/')}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"


def words(text: str) -> str:
    """What an error of MLflow says, in one line: behind three libraries' words about it stands the system's own one."""
    line = text.splitlines()[0]
    own = re.search(r"\[Errno -?\d+\] ([^'\")]+)", line)
    return own[1].strip() if own else line[:300]


def run_of(client: "MlflowClient", sent: Outgoing, settings: MlflowExport) -> "Run":
    """The evaluation's run in the experiment, made where it is missing."""
    found = client.get_experiment_by_name(settings.experiment_name)
    experiment = found.experiment_id if found else client.create_experiment(settings.experiment_name)
    known = client.search_runs([experiment], f"tags.`{KEY}` = '{sent.result.flow_run_id}'", max_results=1)
    if known:
        return known[0]
    name = settings.run_name or sent.title
    tags = {KEY: sent.result.flow_run_id, "mlflow.runName": name}
    started = sent.result.started
    return client.create_run(experiment, int(started.timestamp() * 1000) if started else None, tags, name)


def fill(client: "MlflowClient", run: "Run", sent: Outgoing, settings: MlflowExport) -> None:
    """Scores, parameters, tags and files; what the run has already in the same form is not doubled."""
    ended = sent.result.ended
    time = int(ended.timestamp() * 1000) if ended else int(run.info.start_time)
    values, known = list(fresh_metrics(client, run, metrics(sent, time))), run.data.params
    for start in range(0, len(values), BATCH):
        client.log_batch(run.info.run_id, metrics=values[start : start + BATCH])
    fresh = [each for each in params(sent) if each.key not in known]
    for start in range(0, len(fresh), BATCH):
        client.log_batch(run.info.run_id, params=fresh[start : start + BATCH])
    client.log_batch(run.info.run_id, tags=tags(sent, settings))
    if sent.artifacts:
        log_files(client, run, sent)
    client.set_terminated(run.info.run_id, "FAILED" if sent.result.failed else "FINISHED", time)


def fresh_metrics(client: "MlflowClient", run: "Run", wanted: "Sequence[Metric]") -> "Iterator[Metric]":
    """The values that the run does not show yet, each later than those before it: MLflow shows the largest of one time."""
    from mlflow.entities import Metric  # noqa: PLC0415

    for each in wanted:
        if each.key not in run.data.metrics:
            yield each
        elif run.data.metrics[each.key] != each.value:
            before = max(past.timestamp for past in client.get_metric_history(run.info.run_id, each.key))
            yield Metric(each.key, each.value, max(each.timestamp, before + 1), each.step)


def metrics(sent: Outgoing, time: int) -> "list[Metric]":
    """Every score, and its standard error where there is one."""
    from mlflow.entities import Metric  # noqa: PLC0415

    found: list[Metric] = []
    for each, score in sent.scores:
        name = key(f"{each.benchmark}/{score.name}")
        found.append(Metric(name, score.value, time, 0))
        if score.stderr is not None:
            found.append(Metric(f"{name[: LONGEST - 7]}.stderr", score.stderr, time, 0))
    return found


def params(sent: Outgoing) -> "list[Param]":
    """What the scores depend on; MLflow never lets a parameter of a run change."""
    from mlflow.entities import Param  # noqa: PLC0415

    return [Param(key(name), text(value)) for name, value in described(sent.result).items()]


def tags(sent: Outgoing, settings: MlflowExport) -> "list[RunTag]":
    """What finds the run in lists, the user's tags last."""
    from mlflow.entities import RunTag  # noqa: PLC0415

    result = sent.result
    ours = {"proctor.evaluation": result.evaluation, "model": result.model, "execution": result.execution}
    ours["benchmarks"] = ", ".join(each.benchmark for each in result.benchmarks)[:5000]
    ours["failed"] = ", ".join(each.benchmark for each in result.failed)[:5000]
    return [RunTag(key(name), value) for name, value in {**ours, **settings.tags}.items()]


def log_files(client: "MlflowClient", run: "Run", sent: Outgoing) -> None:
    """The report and the benchmarks' files, over those of an earlier export."""
    with tempfile.TemporaryDirectory() as folder:
        for path in write_report(sent.result, Path(folder), ["json", "csv", "html"]).values():
            client.log_artifact(run.info.run_id, str(path))
    for each in sent.files:
        client.log_artifact(run.info.run_id, str(each.path), each.folder)


def key(name: str) -> str:
    """A name as MLflow allows it."""
    return re.sub(r"[^\w\-./ ]", "_", name.replace("pass@", "pass_at_"))[:LONGEST]


def text(value: Any) -> str:
    """A parameter's value as MLflow keeps it."""
    return (value if isinstance(value, str) else json.dumps(value, default=str))[:500]
