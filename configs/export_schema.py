"""The `export:` section: where the scores go when an evaluation ends, one model for each destination."""

from typing import Literal

from pydantic import Field

from proctor.configs.fields import Seconds, Section

Destination = Literal["local", "mlflow", "wandb", "gsheets"]
Format = Literal["json", "csv", "markdown", "html"]


class DestinationSettings(Section):
    """What every destination has in common."""

    metrics: list[str] = Field(
        default_factory=list,
        description="Only scores that one of these patterns names: `*` and `?` in `metric` or `benchmark/metric`; "
        "default: all.",
    )
    artifacts: bool = Field(
        False, description="Also the report and each benchmark's results, run config, counters and log; never caches."
    )
    timeout: Seconds = Field(600.0, description="How long one try to export may take when an evaluation ends.")


class LocalExport(DestinationSettings):
    """Files of this machine."""

    format: list[Format] = Field(["json", "csv", "html"], description="Which files.")
    output_dir: str | None = Field(None, description="Default: the folder of the evaluation.")


class MlflowExport(DestinationSettings):
    """An MLflow tracking server: one run for each evaluation."""

    tracking_uri: str | None = Field(None, description="Address of the server; default: MLFLOW_TRACKING_URI.")
    experiment_name: str = Field("proctor", description="Experiment that the run belongs to; made when it is missing.")
    run_name: str | None = Field(None, description="Default: the evaluation's name and id.")
    tags: dict[str, str] = Field(default_factory=dict, description="Further tags of the run.")


class WandbExport(DestinationSettings):
    """Weights & Biases: one run for each evaluation."""

    project: str = Field("proctor", description="Project that the run belongs to.")
    entity: str | None = Field(None, description="Team or user; default: yours.")
    mode: Literal["online", "offline"] = Field(
        "online", description="offline writes a folder that `wandb sync` sends later."
    )
    dir: str | None = Field(None, description="Folder of that folder; default: the folder of the evaluation.")
    run_name: str | None = Field(None, description="Default: the evaluation's name and id.")
    group: str | None = Field(None, description="Group that the run belongs to.")
    tags: list[str] = Field(default_factory=list, description="Tags of the run.")


class GsheetsExport(DestinationSettings):
    """A Google spreadsheet: one row for each score."""

    spreadsheet: str | None = Field(None, description="The spreadsheet's id or address; it is shared with the account.")
    worksheet: str = Field("proctor", description="Sheet that the rows go to; made when it is missing.")
    service_account_file: str | None = Field(
        None, description="Key file of the service account; default: GOOGLE_APPLICATION_CREDENTIALS."
    )
    api_url: str = Field("https://sheets.googleapis.com", description="Another address of the API: a gateway of yours.")


class Export(Section):
    """Where the scores go."""

    destinations: list[Destination] = Field(["local"], description="Where to export when the evaluation ends.")
    local: LocalExport = Field(default_factory=LocalExport)
    mlflow: MlflowExport = Field(default_factory=MlflowExport)
    wandb: WandbExport = Field(default_factory=WandbExport)
    gsheets: GsheetsExport = Field(default_factory=GsheetsExport)


ENVIRONMENT: dict[Destination, tuple[str, ...]] = {
    "mlflow": (
        *("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
        *("MLFLOW_TRACKING_INSECURE_TLS", "MLFLOW_TRACKING_SERVER_CERT_PATH"),
    ),
    "wandb": ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_ENTITY"),
    "gsheets": ("GOOGLE_APPLICATION_CREDENTIALS",),
}
"""Variables that a destination reads by itself, where they are set."""
