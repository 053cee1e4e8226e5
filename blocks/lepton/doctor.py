"""Can this workspace run these jobs? Reads only."""

from collections.abc import Iterator, Sequence

from proctor.blocks.errors import BackendError
from proctor.blocks.finding import Finding, ok, problem, warning
from proctor.blocks.job import JobSpec
from proctor.blocks.lepton.homecoming import check, credentials
from proctor.blocks.lepton.ledger import Ledger
from proctor.blocks.lepton.preparation import check_references, check_shapes, group_ids
from proctor.blocks.lepton.validity import check_documents
from proctor.blocks.lepton.workspace import Workspace
from proctor.configs.errors import ConfigError


def examine(workspace: Workspace, jobs: Sequence[JobSpec]) -> Iterator[Finding]:
    """Token, node groups, shapes, secrets, and the way home of the results."""
    try:
        known = workspace.secrets()
        yield ok("Lepton takes the token")
        check(workspace.execution)
        groups = group_ids(workspace)
        for job in jobs:
            check_shapes(workspace, Ledger(job, groups=groups))
            check_references(job, known)
            check_documents(job, workspace.execution)
        if jobs:
            yield ok(f"the workspace has the shape {workspace.execution.resource_shape}")
    except (BackendError, ConfigError) as error:
        words, _, advice = str(error).partition("; ")
        yield problem(words, advice or "see docs/lepton.md")
        return
    yield from remarks(workspace)


def remarks(workspace: Workspace) -> Iterator[Finding]:
    """What works, and may be too little."""
    results = workspace.execution.results
    if results.via == "log":
        yield warning(
            f"results come home through the jobs' logs: scores always, everything else up to {results.log_limit} MiB",
            "for large outputs set execution.results.via: mount or object (docs/lepton.md)",
        )
    else:
        yield ok(f"results come home by {results.via}")
    if results.via == "object" and (results.options.get("token") or credentials(str(results.url)).get("token")):
        yield warning(
            "the addresses for the results are signed with a session token, and end with it",
            "use keys that outlive the evaluation; results that cannot be uploaded come through the log, if they fit",
        )
