"""`proctor ls shapes`: what a cloud can give a benchmark or a model server."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import click

from proctor.cli.errors import CommandError, MistakeError
from proctor.cli.tables import show
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import LeptonExecution

HEAD = ("shape", "node group", "for", "CPUs", "GiB", "accelerators")


@dataclass(frozen=True, slots=True)
class Offer:
    """A shape of one node group."""

    shape: str
    node_group: str
    purposes: tuple[str, ...]
    cpus: float
    memory_gib: float
    accelerators: str


@click.command()
@click.option("--backend", type=click.Choice(["lepton"]), required=True, help="The cloud to ask.")
@click.option(
    "--config", metavar="FILE", help="A config whose `execution` says which workspace; default: the login here."
)
@click.option("--node-group", metavar="NAME", help="Only those of this node group.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of a table.")
def shapes(backend: str, config: str | None, node_group: str | None, *, as_json: bool) -> None:
    """The shapes that execution.resource_shape and execution.endpoint_resource_shape may name."""
    try:
        offers = offered(execution_of(config), node_group)
    except ConfigError as error:
        raise MistakeError(str(error)) from None
    if as_json:
        click.echo(json.dumps([asdict(each) for each in offers], indent=1))
    elif offers:
        show(HEAD, [cells(each) for each in offers], right=("CPUs", "GiB"))
    else:
        click.echo(f"{backend} lists no shapes for this workspace", err=True)


def execution_of(config: str | None) -> LeptonExecution:
    """The section of a config, or one that takes the login of this machine. Raises ConfigError."""
    if config is None:
        return LeptonExecution()
    from proctor.cli.options import load_from_options  # noqa: PLC0415 (Hydra)

    section = load_from_options(None, None, config, (), ()).config.execution
    if not isinstance(section, LeptonExecution):
        raise ConfigError(
            f"{config}: its execution is {section.type}, which has no shapes; name one with `type: lepton`"
        )
    return section


def offered(execution: LeptonExecution, wanted: str | None) -> list[Offer]:
    """Every shape of every node group, or of a workspace without any.

    Raises ConfigError for a group that is not there, CommandError without an answer.
    """
    from proctor.blocks.errors import BackendError  # noqa: PLC0415
    from proctor.blocks.lepton.preparation import nearest  # noqa: PLC0415
    from proctor.blocks.lepton.workspace import Workspace  # noqa: PLC0415

    workspace = Workspace(execution)
    try:
        listed = workspace.node_groups()
        groups = {**dict(listed), **{key: key for _, key in listed}}
        if wanted and wanted not in groups:
            raise ConfigError(f"--node-group: no {wanted!r} in this workspace; {nearest(wanted, groups, 'it has')}")
        found: list[tuple[str, str | None]] = [(wanted, groups[wanted])] if wanted else [*sorted(listed)]
        return [offer for name, key in found or [("-", None)] for offer in of_group(workspace, name, key)]
    except BackendError as error:
        raise CommandError(str(error)) from None


def of_group(workspace: Any, name: str, key: str | None) -> list[Offer]:
    """The shapes of one node group, each once, with what they may be used for."""
    purposes = {"benchmarks": "job", "servers": "deployment"}
    found = {word: workspace.shapes(key, purpose) for word, purpose in purposes.items()}
    known = {shape.name: shape for listed in found.values() for shape in listed}
    return [
        Offer(
            each.name,
            name,
            tuple(word for word, listed in found.items() if each in listed),
            each.cpu,
            each.memory_gib,
            each.accelerators,
        )
        for each in known.values()
    ]


def cells(offer: Offer) -> tuple[str, ...]:
    """An offer for people."""
    amounts = (f"{offer.cpus:g}", f"{offer.memory_gib:g}")
    return (offer.shape, offer.node_group, ", ".join(offer.purposes), *amounts, offer.accelerators or "-")
