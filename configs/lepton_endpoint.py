"""What stands in a plan for an endpoint of the Lepton cloud until Lepton has given it an address; pure."""

SCHEME = "lepton://"
"""Begins the URL of an endpoint that is known by its name only."""
SERVER_NAME = "server"
"""Stands for the endpoint of the evaluation's own model server."""
ENDPOINT_TOKEN = "PROCTOR_ENDPOINT_TOKEN"  # noqa: S105 (the name of a variable)
"""The variable of a benchmark that holds the token of its endpoint."""


def planned_base(name: str) -> str:
    """The base URL of an endpoint in a plan."""
    return f"{SCHEME}{name}"


def planned_model(name: str) -> str:
    """The model of an endpoint that nothing names but the endpoint itself."""
    return f"{SCHEME}{name}#model"


def model_in_words(model: str) -> str:
    """A model's name for people; one that only its endpoint knows is called like the endpoint."""
    return model.removeprefix(SCHEME).removesuffix("#model")


def endpoint_in(url: str) -> str:
    """The name of the endpoint that a planned URL means; empty for an ordinary URL."""
    return url.removeprefix(SCHEME).partition("/")[0] if url.startswith(SCHEME) else ""
