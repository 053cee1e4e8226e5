"""What is known about a job that somebody else runs: evidence and its age. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from proctor.blocks.job import JobHandle, JobState, JobStatus, StepStatus
from proctor.blocks.stage_files import LOST
from proctor.configs.execution_schema import BaseExecution

FINAL = frozenset(state for state in JobState if state.final)

LOCAL = ("local", "process", "simulated")
"""Backends that may be asked several times a second."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A job as last seen, and when (on the monotonic clock) there was last evidence about each of its steps."""

    handle: JobHandle
    status: JobStatus = field(default_factory=lambda: JobStatus(JobState.PENDING))
    seen: Mapping[str, float] = field(default_factory=dict)
    doubts: Mapping[str, str] = field(default_factory=dict)
    """What was said at the last look about steps of which nothing is known."""

    def step(self, name: str) -> StepStatus:
        """The last known status of one step."""
        return self.status.steps.get(name, StepStatus(JobState.PENDING))

    @property
    def ended(self) -> bool:
        """Whether every step has come to its end."""
        return all(self.step(name).state.final for name in self.handle.steps)


def first_sight(handle: JobHandle, now: float) -> Sight:
    """What is known about a job right after its submission."""
    return Sight(handle, seen={step: now for step in handle.steps})


def look(sight: Sight, fresh: JobStatus, now: float) -> Sight:
    """What is known after one more look: a step about which there is no evidence keeps its last known state.

    Where nobody could be asked, only what has changed is evidence.
    """
    steps, seen = dict(sight.status.steps), dict(sight.seen)
    for name in sight.handle.steps:
        status, before = fresh.steps.get(name, StepStatus(JobState.UNKNOWN)), sight.step(name)
        if status.state is not JobState.UNKNOWN and not before.state.final:
            count = before.requests if status.requests is None else status.requests
            steps[name] = replace(status, requests=count)
            if fresh.confirmed or (status.state, count) != (before.state, before.requests):
                seen[name] = now
    state = sight.status.state if fresh.state is JobState.UNKNOWN else fresh.state
    known = replace(
        fresh,
        state=state,
        steps=steps,
        server=fresh.server or sight.status.server,
        image_digests={**sight.status.image_digests, **fresh.image_digests},
        observed=fresh.observed or sight.status.observed,
    )
    doubts = {name: each.message for name, each in fresh.steps.items() if each.state is JobState.UNKNOWN}
    return Sight(sight.handle, known, seen, doubts)


def out_of_sight(sight: Sight, now: float, patience: float) -> list[str]:
    """The unfinished steps that nobody has seen for longer than `patience` seconds."""
    return [
        name
        for name in sight.handle.steps
        if not sight.step(name).state.final and now - sight.seen.get(name, now) > patience
    ]


def lost(status: StepStatus) -> bool:
    """Whether a step ended without a word of its own, so that starting it again is right."""
    return status.state is JobState.FAILED and status.exit_code is None and status.message.startswith(LOST)


SETTLE = 10.0
"""Seconds without any change after which a step that waits its turn is surely not just starting."""


def stalled(sight: Sight, steps: Collection[str], quiet: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The lost steps among these, and those that wait behind them; both empty while the job still gets on.

    A lost step never says that it has ended, so the others would wait for it for ever. They are started again together
    once none of the job runs any more.
    """
    gone = tuple(name for name in steps if lost(sight.step(name)))
    going = [name for name in steps if sight.step(name).state not in {*FINAL, JobState.PENDING}]
    waiting = tuple(name for name in steps if sight.step(name).state is JobState.PENDING)
    if not gone or going or (waiting and quiet < SETTLE):
        return (), ()
    return gone, waiting


PACE = {"lepton": (10.0, 60.0)}
"""Seconds between two looks, at least and at most, where a service asks for more patience than a cluster."""


LONG = 86_400.0
"""Seconds without a change after which jobs are asked about as seldom as ever."""


def pace(execution: BaseExecution, quiet: float) -> float:
    """Seconds until the next look: as the config says, where whoever runs the jobs bears that, else what fits them."""
    if execution.poll_interval:
        return max(execution.poll_interval, execution.shortest_interval)
    return interval(getattr(execution, "type", ""), quiet)


def interval(backend: str, quiet: float) -> float:
    """Seconds until the next look, `quiet` seconds after the last change: short jobs are seen at once, long ones cheap."""
    low, high = (0.2, 2.0) if backend in LOCAL else PACE.get(backend, (5.0, 30.0))
    return min(high, max(low, quiet / 10))
