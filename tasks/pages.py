"""Flow runs beyond the first page: the server answers with at most 200."""

from collections.abc import Mapping
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from proctor.configs.pages import PAGE, behind


async def every_run(client: PrefectClient, wanted: Mapping[str, Any], *, most: int | None = None) -> list[FlowRun]:
    """All flow runs that match, the latest first; with `most` no more than so many, a page at a time."""
    found: dict[str, FlowRun] = {}
    following = dict(wanted)
    while most is None or len(found) < most:
        matching = FlowRunFilter.model_validate(following)
        page = await client.read_flow_runs(
            flow_run_filter=matching, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=PAGE
        )
        known = len(found)
        found |= {str(run.id): run for run in page}
        if len(page) < PAGE or len(found) == known:
            break
        following = behind(wanted, [(str(run.id), run.expected_start_time) for run in found.values()])
    return list(found.values())
