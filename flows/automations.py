"""The two Prefect automations that bring a crashed evaluation back as exactly one engine."""

from collections.abc import Sequence
from datetime import timedelta

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from proctor.configs.records import EVALUATION_TAG
from proctor.tasks.mending import AWAITING_HOST, SILENCE

SETTLE = timedelta(seconds=10)
"""A worker reports a crash twice, up to 3 s apart; a run that is scheduled again between the two gets two engines."""

ENDS = ("Completed", "Failed", "Unavailable", "Cancelled", "Cancelling", AWAITING_HOST, "Crashed")
COMEBACK = "AwaitingRetry"
"""The state that every way back sets. The states before a crash do not count: their events may arrive after its own."""


def event(state: str) -> str:
    """The event that Prefect emits when a flow run enters a state of this name."""
    return f"prefect.flow-run.{state}"


def trigger(after: str, expect: set[str], within: timedelta) -> EventTrigger:
    """Fires for an evaluation's run when none of the expected events follows in time."""
    return EventTrigger(
        posture=Posture.Proactive,
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=ResourceSpecification({"prefect.resource.id": f"prefect.tag.{EVALUATION_TAG}"}),
        for_each={"prefect.resource.id"},
        after={after},
        expect=expect,
        threshold=1,
        within=within,
    )


def automations(silence: timedelta = timedelta(seconds=SILENCE)) -> list[AutomationCore]:
    """What `proctor up` puts into the server; an engine counts as dead after this silence."""
    return [
        AutomationCore(
            name="proctor-crash-zombies",
            description="An evaluation whose engine is silent is crashed, so that it can come back.",
            trigger=trigger(event("heartbeat"), {event("heartbeat"), *map(event, ENDS)}, silence),
            actions=[
                ChangeFlowRunState(state=StateType.CRASHED, message=f"no heartbeat for {silence.total_seconds():.0f} s")
            ],
        ),
        AutomationCore(
            name="proctor-settle-then-reattach",
            description="A crashed evaluation is scheduled again once its worker has reported the crash for good.",
            trigger=trigger(event("Crashed"), {event(name) for name in (*ENDS[:-1], COMEBACK)}, SETTLE),
            actions=[ChangeFlowRunState(state=StateType.SCHEDULED, name=COMEBACK, message="comes back")],
        ),
    ]


async def apply_automations(client: PrefectClient, wanted: Sequence[AutomationCore] = ()) -> None:
    """Create the automations, or bring those of that name up to date; safe to repeat."""
    for automation in wanted or automations():
        known = await client.read_automations_by_name(automation.name)
        if known:
            await client.update_automation(known[0].id, automation)
        else:
            await client.create_automation(automation)
        for double in known[1:]:
            await client.delete_automation(double.id)
