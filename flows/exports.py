"""Sending the scores of an evaluation to where its config wants them."""

from collections.abc import Sequence
from typing import Any

from prefect.client.schemas.objects import State

from proctor.blocks.errors import ExportError
from proctor.configs import records
from proctor.tasks.export import assemble, export_to
from proctor.tasks.outgoing import Receipt
from proctor.tasks.publish import publish_links
from proctor.tasks.records import EvaluationRun
from proctor.tasks.results import EvaluationResult
from proctor.tasks.states import end_of
from proctor.tasks.verdict import Outcome
from proctor.tasks.watch import Watcher


async def export_all(run: EvaluationRun, watcher: Watcher, outcomes: Sequence[Outcome]) -> tuple[str, str]:
    """Why the scores could not be brought together, and which destinations do not have them; both empty when all is well.

    A destination that fails changes nothing about the scores, which are artifacts of the run already.
    """
    assembled = await end_of(assemble(run, outcomes, return_state=True))
    if not assembled.is_completed():
        return str(assembled.message), ""
    result: EvaluationResult = await assembled.aresult()
    missing: list[str] = []
    receipts: list[Receipt] = []
    # files of this machine first: they need nobody else
    for destination in sorted(dict.fromkeys(watcher.config.export.destinations), key=lambda each: each != "local"):
        exported = await end_of(export_to(run, destination, result, return_state=True))
        if not exported.is_completed():
            missing.append(f"{records.NOT_EXPORTED} {destination}: {reason(exported)}")
        else:
            receipts.append(await exported.aresult())
    await publish_links(run, watcher, receipts)
    return "", "; ".join(missing)


def reason(exported: State[Any]) -> str:
    """Why a destination does not have the scores, without the name of an exception of ours."""
    return str(exported.message).split(f"{ExportError.__name__}: ", 1)[-1]
