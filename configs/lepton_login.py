"""The variables with which this machine logs in to the Lepton cloud, and to the object store for its results; pure."""

from proctor.configs.execution_schema import LeptonExecution

TOKENS = ("LEPTON_API_TOKEN", "LEPTON_WORKSPACE_TOKEN")
WORKSPACE_ID = "LEPTON_WORKSPACE_ID"
WORKSPACE_URL = "LEPTON_WORKSPACE_URL"
ORIGIN_URL = "LEPTON_WORKSPACE_ORIGIN_URL"
CACHE_DIR = "LEPTON_CACHE_DIR"
"""Where `lep login` writes down what it was told."""
S3 = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "token",
    "AWS_ENDPOINT_URL": "endpoint_url",
}
"""Options of s3fs by the variables that hold them."""


def login_variables(execution: LeptonExecution) -> tuple[str, ...]:
    """Every variable that is read, where it is set, by whoever talks to Lepton for this section."""
    source, _, name = (execution.token or "").partition(":")
    named = (name,) if source == "host" else ()
    store = tuple(S3) if execution.results.via == "object" else ()
    return (*named, *TOKENS, WORKSPACE_ID, WORKSPACE_URL, ORIGIN_URL, CACHE_DIR, *store)
