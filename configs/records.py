"""How an evaluation is found and read in Prefect's state store: the names that flows write and the CLI reads.

An evaluation is one run of the flow `evaluate`; each of its benchmarks is a subflow run. Both carry the tag
`evaluation:<id>`. Artifact keys allow lowercase letters, digits and dashes only.
"""

import re
from uuid import UUID

EVALUATION_TAG = "proctor:evaluation"
"""On the run of `evaluate` and on nothing else: `ls runs` filters on it."""
BENCHMARK_TAG = "proctor:benchmark"
"""On every benchmark's subflow run."""
MACHINE_TAG = "proctor:machine"
"""On the runs of `reconcile` and `reap` that the server schedules."""

OUTPUT_LABEL = "proctor.output_dir"
"""Flow-run label: the absolute folder of the evaluation."""
ENGINE_LABEL = "proctor.engine"
"""Flow-run label: `host pid start-time` of the process that drives the evaluation, for `reconcile`."""
JOB_LABEL = "proctor.job."
"""Prefix of the flow-run labels that hold one JobHandle each, as JSON, by job name."""
RELEASED_LABEL = "proctor.released"
"""Flow-run label: its jobs are gone for good, and nobody needs to look again."""
HANDED_BACK_LABEL = "proctor.handed_back"
"""Flow-run label: how often an engine on another machine than that of its jobs gave the evaluation back."""
WHO_LABEL = "proctor.user"
"""Flow-run label: who started the evaluation."""


SERVER_STEP = "server"
"""Stands as `step` in the row of a job's model server in the progress table."""


def evaluation_id(flow_run_id: UUID | str) -> str:
    """The 8 hex digits that name an evaluation: the last ones of its flow run id (the first may encode the time)."""
    return UUID(str(flow_run_id)).hex[-8:]


def evaluation_tag(evaluation: str) -> str:
    """The tag on an evaluation's flow run and on those of its benchmarks."""
    return f"evaluation:{evaluation}"


def benchmark_tag(benchmark: str) -> str:
    """The tag that finds every run of one benchmark."""
    return f"benchmark:{benchmark}"


def backend_tag(execution_type: str) -> str:
    """The tag that finds every run on one kind of backend."""
    return f"backend:{execution_type}"


def model_tag(model: str) -> str:
    """The tag that finds every run of one model."""
    return f"model:{model}"


def plan_key(evaluation: str) -> str:
    """Artifact (markdown): what will run, as rendered by the backend."""
    return f"plan-{evaluation}"


def links_key(evaluation: str) -> str:
    """Artifact (markdown): where its files and logs are, and where its scores went."""
    return f"links-{evaluation}"


def progress_key(evaluation: str) -> str:
    """Artifact (table), newest version counts: one row a benchmark, and one for each model server before those it serves.

    Columns: benchmark, step, job, state, message, requests, per_minute, since, observed.
    """
    return f"progress-{evaluation}"


def scores_key(evaluation: str) -> str:
    """Artifact (table): one row a score (benchmark, metric, value, stderr, samples, seconds)."""
    return f"scores-{evaluation}"


def results_key(evaluation: str) -> str:
    """Artifact (JSON document): the whole EvaluationResult, as in results.json."""
    return f"results-{evaluation}"


NOT_EXPORTED = "not exported to"
"""Begins, in the message of an evaluation's final state, what is said about a destination without the scores."""


def export_key(destination: str, evaluation: str) -> str:
    """Artifact (table of one row): the receipt of a destination that has the scores."""
    return f"export-{destination}-{evaluation}"


def artifact_key(text: str) -> str:
    """Any text as an artifact key."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"
