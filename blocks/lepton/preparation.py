"""What a job needs on Lepton before anything of it runs, checked with the choices there are, and made."""

import difflib
from collections.abc import Collection

from proctor.blocks.errors import RejectedError
from proctor.blocks.job import Container, JobSpec
from proctor.blocks.lepton.homecoming import check, upload_address
from proctor.blocks.lepton.ledger import Ledger, keep
from proctor.blocks.lepton.named import connect, others
from proctor.blocks.lepton.render import (
    NEED_ACCELERATORS,
    SMALLEST,
    needs_token,
    secret_name,
    secret_of,
    server_shape,
    travelling,
    upload_secret,
)
from proctor.blocks.lepton.servers import new_token
from proctor.blocks.lepton.validity import check_documents
from proctor.blocks.lepton.workspace import Shape, Workspace
from proctor.blocks.secrets import resolve_env
from proctor.configs.lepton_endpoint import ENDPOINT_TOKEN, SERVER_NAME


def prepare(workspace: Workspace, page: Ledger) -> None:
    """Check what the section names against what the workspace has, and make the job's secrets.

    Raises RejectedError or ConfigError with the choices there are, and TransientError when Lepton cannot be asked.
    """
    job = page.job
    check(workspace.execution)
    check_documents(job, workspace.execution)
    values = secret_values(workspace, job)
    page.groups = group_ids(workspace)
    check_shapes(workspace, page)
    token = route(workspace, page)
    if job.server or any(needs_token(step) for step in job.steps):
        values[secret_name(job, ENDPOINT_TOKEN)] = token
    known = workspace.secrets()
    check_references(job, known)
    if job.server and not page.token:
        page.token = values[secret_name(job, ENDPOINT_TOKEN)] = new_token()
        keep(page)
        workspace.delete_secrets([name for name in known if name == secret_name(job, ENDPOINT_TOKEN)])
        known = known - {secret_name(job, ENDPOINT_TOKEN)}
    workspace.create_secrets({name: value for name, value in values.items() if name not in known})
    page.prepared = True


def secret_values(workspace: Workspace, job: JobSpec) -> dict[str, str]:
    """The values that travel as secrets of the workspace, by their names there."""
    values: dict[str, str] = {}
    for where, container in containers(job):
        resolved = resolve_env(container, where)
        values |= {secret_of(job, each): resolved[each.name] for each in travelling(container)}
    if workspace.execution.results.via == "object":
        values |= {upload_secret(job, step): upload_address(workspace.execution, job, step) for step in job.steps}
    return values


def containers(job: JobSpec) -> list[tuple[str, Container]]:
    """Every container of a job, with how to speak of it."""
    found = [(step.benchmark, step.container) for step in job.steps]
    return [*found, ("deployment", job.server.container)] if job.server else found


def check_references(job: JobSpec, known: Collection[str]) -> None:
    """Raise RejectedError for a secret of the workspace that is named and not there."""
    for where, container in containers(job):
        for each in container.env:
            if each.source == "runtime" and each.value not in known:
                raise RejectedError(
                    f"{where}: env_vars.{each.name}: the workspace has no secret {each.value!r}; "
                    f"{nearest(each.value, known, 'it has')}"
                )


def group_ids(workspace: Workspace) -> dict[str, str]:
    """Ids of the node groups that the section names. Raises RejectedError with the groups there are."""
    execution = workspace.execution
    wanted = {group for group in (execution.node_group, execution.endpoint_node_group) if group}
    if not wanted:
        return {}
    known = workspace.groups()
    for group in sorted(wanted - known.keys()):
        raise RejectedError(
            f"execution.node_group: the workspace has no node group {group!r}; {nearest(group, known, 'it has')}"
        )
    return {group: known[group] for group in wanted}


def check_shapes(workspace: Workspace, page: Ledger) -> None:
    """Raise RejectedError, with the shapes there are, for one that the workspace does not have."""
    execution, server = workspace.execution, page.job.server
    jobs = workspace.shapes(page.groups.get(execution.node_group or ""), "job")
    check_shape("execution.resource_shape", execution.resource_shape, jobs)
    if server:
        group = execution.endpoint_node_group or execution.node_group or ""
        offered = workspace.shapes(page.groups.get(group), "deployment")
        shape = server_shape(server, execution)
        if shape == SMALLEST:
            page.shape = smallest(offered) or execution.resource_shape
            return
        check_shape("execution.endpoint_resource_shape", shape, offered)
        if server.kind in NEED_ACCELERATORS and not execution.endpoint_resource_shape:
            check_accelerators(server.kind, shape, offered)


def smallest(offered: Collection[Shape]) -> str:
    """The name of the smallest shape with accelerators; empty where there is none."""
    able = [(float(each.accelerators.split()[0]), each.memory_gib, each.name) for each in offered if each.accelerators]
    return min(able)[2] if able else ""


def check_shape(key: str, shape: str, offered: Collection[Shape]) -> None:
    """One shape. A workspace that lists none is not asked to have it."""
    known = [each.name for each in offered]
    if known and shape not in known:
        raise RejectedError(f"{key}: {shape!r} is no shape of this workspace; {nearest(shape, known, 'choose from')}")


def check_accelerators(kind: str, shape: str, offered: Collection[Shape]) -> None:
    """Raise RejectedError for a server that needs accelerators and got, unasked, the jobs' shape that has none."""
    better = [each.name for each in offered if each.accelerators]
    if better and shape not in better:
        raise RejectedError(
            f"execution.endpoint_resource_shape is missing: {kind} would run on {shape}, which has no accelerators; "
            f"choose from {', '.join(sorted(better))}"
        )


def nearest(wrong: str, known: Collection[str], otherwise: str) -> str:
    """What may have been meant, or all there is."""
    near = difflib.get_close_matches(wrong, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"{otherwise} {', '.join(sorted(known)[:20]) or 'none'}"


def route(workspace: Workspace, page: Ledger) -> str:
    """The token of the endpoint that the benchmarks ask, with its address in the page where it is up already."""
    names = others(page.job, SERVER_NAME)
    if not names:
        return page.token
    if len(names) > 1:
        raise RejectedError(
            f"target.api_endpoint.deployment_name: {' and '.join(sorted(names))}; one job asks one endpoint"
        )
    return connect(workspace, page, names.pop())
