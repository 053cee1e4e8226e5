"""Flow runs beyond the first page: the server answers with at most 200, in no order of its own."""

from collections.abc import Mapping
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

PAGE = 200


async def every_run(client: PrefectClient, wanted: Mapping[str, Any], *, most: int | None = None) -> list[FlowRun]:
    """All flow runs that match, the latest first; with `most` no more than so many, a page at a time."""
    matching = FlowRunFilter.model_validate(wanted)
    order = FlowRunSort.EXPECTED_START_TIME_DESC
    found: dict[str, FlowRun] = {}
    offset = 0
    while most is None or len(found) < most:
        page = await client.read_flow_runs(flow_run_filter=matching, sort=order, limit=PAGE, offset=offset)
        found |= {str(run.id): run for run in page}
        offset += PAGE
        if len(page) < PAGE:
            break
    return list(found.values())
