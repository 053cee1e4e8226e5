"""What a workspace has and does, in typed values; every request to Lepton is made here, and its errors are ours."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from proctor.blocks.errors import BackendError, RejectedError, TransientError
from proctor.blocks.lepton.connection import RefusalError, patiently
from proctor.blocks.lepton.questions import job_page, removed, sure_of_family
from proctor.blocks.lepton.render import without_none
from proctor.blocks.lepton.states import Phase, job_meaning
from proctor.configs.execution_schema import LeptonExecution

if TYPE_CHECKING:
    from leptonai.api.v2 import APIClient
    from leptonai.api.v2.types.deployment import LeptonDeployment
    from leptonai.api.v2.types.job import LeptonJob

T = TypeVar("T")
PAGE = 500
LOG_PAGE = 5000
NANO = 1_000_000_000
FORBIDDEN = 403
CONFLICT = 409
LOGS = "logs"
"""The part of the service that keeps them, which wants patience by itself."""
LOG_TIMEOUT = 60.0
"""Seconds for a page of a log, which may be long."""
EARLIER = 3600
"""Seconds before its creation from which the log of a job is read: our clock and Lepton's may differ."""


@dataclass(frozen=True, slots=True)
class SeenJob:
    """A job as Lepton lists it."""

    id: str
    name: str
    state: str
    succeeded: int = 0
    failed: int = 0
    created: float = 0.0
    """Seconds of the epoch, by Lepton's clock."""
    ours: str = ""
    """The job of ours that its environment names."""
    doubles: tuple["SeenJob", ...] = ()
    """Others of the same name: the answer to the creation of one was lost."""


@dataclass(frozen=True, slots=True)
class SeenEndpoint:
    """An endpoint as Lepton knows it."""

    name: str
    state: str
    url: str
    """Empty until it has one."""
    ours: str = ""
    token: str | None = field(default=None, repr=False)
    """Where it stands in clear in its document; empty when the endpoint asks for none, None when nobody is told."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The workspace of a section."""

    execution: LeptonExecution

    def ask(self, what: str, question: Callable[["APIClient"], T], part: str = "") -> T:
        """One request, or several that belong together, to a part of the service."""
        return patiently(self.execution, question, what, part)

    def jobs(self, prefix: str) -> dict[str, SeenJob]:
        """Every job whose name begins so, by name, ended and archived ones too: one request for up to 500.

        Where a name stands twice, because the answer to its creation was lost, the one that got furthest counts.
        """
        found: dict[str, list[SeenJob]] = {}
        for job in sorted(self.every_job(prefix), key=how_far):
            found.setdefault(job.name, []).append(job)
        return {name: replace(jobs[0], doubles=tuple(jobs[1:])) for name, jobs in found.items()}

    def every_job(self, prefix: str) -> list[SeenJob]:
        """The same with doubles."""
        found: list[SeenJob] = []
        for page in range(1, 1000):
            query = {"job_query_mode": "alive_and_archive", "q": prefix, "page": page, "page_size": PAGE}
            listed = self.ask("the list of jobs", partial(job_page, query))
            found += [job for each in listed if (job := readable_job(each))]
            if len(listed) < PAGE:
                break
        return [each for each in found if each.name.startswith(prefix)]

    def job(self, native_id: str) -> SeenJob | None:
        """One job by Lepton's id, None when Lepton does not know it (any more)."""
        try:
            return seen_job(self.ask(f"job {native_id}", lambda client: client.job.get(native_id)))
        except RefusalError as error:
            missing_only(error)
            return None

    def create_job(self, document: Mapping[str, Any]) -> str:
        """Lepton's id of a new job. Never repeated by itself: two requests are two jobs."""
        from leptonai.api.v2.types.job import LeptonJob  # noqa: PLC0415

        name = document["metadata"]["name"]
        body = built(f"job {name}", LeptonJob, document)
        made = self.ask(f"job {name}", lambda client: client.job.create(body))
        return str(made.metadata.id_ or "")

    def delete_job(self, native_id: str) -> None:
        """Remove a job, live or ended; one that is not there is removed."""
        for mode in ("alive_only", "alive_and_archive"):
            try:
                self.ask(f"job {native_id}", partial(removed, native_id, mode))
            except RefusalError as error:
                missing_only(error)
            else:
                return

    def reasons(self, native_id: str, *, warnings: bool = False) -> list[str]:
        """The reasons of a job's events (or of its warnings), newest last; empty when there is nothing to learn."""
        try:
            events = self.ask(f"events of {native_id}", lambda client: client.job.get_events(native_id))
        except BackendError:
            return []
        told = sorted(events, key=lambda event: event.last_observed_time)
        return [str(event.reason) for event in told if not warnings or event.type_ == "Warning"]

    def ask_endpoints(self, what: str, question: Callable[["APIClient"], T], part: str = "") -> T:
        """The same about endpoints, once it is sure which of their two families the workspace has.

        Raises TransientError while the workspace does not say.
        """
        from leptonai.api.v2 import reset_new_deployment_api_flag_cache  # noqa: PLC0415

        def of_known_family(client: "APIClient") -> T:
            sure_of_family(client)
            return question(client)

        try:
            return self.ask(what, of_known_family, part)
        except RefusalError as error:
            if error.status != FORBIDDEN:
                raise
            reset_new_deployment_api_flag_cache()
            return self.ask(what, of_known_family, part)

    def endpoint(self, name: str) -> SeenEndpoint | None:
        """One endpoint, None when there is none of that name."""
        try:
            return seen_endpoint(self.ask_endpoints(f"endpoint {name}", lambda client: client.deployment.get(name)))
        except RefusalError as error:
            missing_only(error)
            return None

    def endpoints(self) -> list[SeenEndpoint]:
        """Every endpoint of the workspace."""
        listed = self.ask_endpoints("the list of endpoints", lambda client: client.deployment.list_all())
        return [seen_endpoint(each) for each in listed]

    def create_endpoint(self, document: Mapping[str, Any]) -> None:
        """A new endpoint. Raises RefusalError with status 409 for a name that is taken."""
        from leptonai.api.v2.types.deployment import LeptonDeployment  # noqa: PLC0415

        name = document["metadata"]["name"]
        body = built(f"endpoint {name}", LeptonDeployment, document)
        self.ask_endpoints(f"endpoint {name}", lambda client: client.deployment.create_with_response(body))

    def delete_endpoint(self, name: str) -> None:
        """Remove an endpoint; one that is not there is removed."""
        try:
            self.ask_endpoints(f"endpoint {name}", lambda client: client.deployment.delete(name))
        except RefusalError as error:
            missing_only(error)

    def endpoint_reasons(self, name: str) -> list[str]:
        """What its events say, as `reason`, newest last."""
        try:
            events = self.ask_endpoints(f"events of {name}", lambda client: client.deployment.get_events(name))
        except BackendError:
            return []
        return [str(event.reason) for event in sorted(events, key=lambda event: event.last_observed_time)]

    def terminations(self, name: str) -> list[str]:
        """How containers of an endpoint ended, in words, the last one last; only the old family of endpoints says so."""
        try:
            found = self.ask_endpoints(f"the ends of {name}", lambda client: client.deployment.get_termination(name))
        except BackendError:
            return []
        ends = sorted((end for each in found.root.values() for end in each), key=lambda end: end.finished_at)
        return [
            f"its container ended with exit code {end.exit_code} ({end.reason}) {end.message}".strip() for end in ends
        ]

    def secrets(self) -> set[str]:
        """The names of the workspace's secrets; their values are never told."""
        return {str(each.name) for each in self.ask("the list of secrets", lambda client: client.secret.list_all())}

    def create_secrets(self, values: Mapping[str, str]) -> None:
        """Secrets of these names, for our jobs alone to read. One that is there already keeps its value."""
        missing = {name: values[name] for name in sorted(values.keys() - self.secrets())} if values else {}
        try:
            self.post_secrets(missing)
        except RefusalError as error:
            if error.status != CONFLICT:
                raise
            for name, value in missing.items():
                with suppress_conflict():
                    self.post_secrets({name: value})

    def post_secrets(self, values: Mapping[str, str]) -> None:
        """One request for new secrets, all or none. Raises RefusalError with status 409 when one of them is there."""
        from leptonai.api.v2.types.common import LeptonVisibility  # noqa: PLC0415
        from leptonai.api.v2.types.secret import SecretItem  # noqa: PLC0415

        items = [
            SecretItem(name=name, value=value, visibility=LeptonVisibility.PRIVATE) for name, value in values.items()
        ]
        if items:
            self.ask("the secrets of a job", lambda client: client.secret.create(items))

    def delete_secrets(self, names: Collection[str]) -> None:
        """Remove secrets."""
        for name in names:
            try:
                self.ask(f"secret {name}", lambda client, name=name: client.secret.delete(name))  # type: ignore[misc]
            except RefusalError as error:
                missing_only(error)

    def node_groups(self) -> list[tuple[str, str]]:
        """Name and id of each node group."""
        listed = self.ask("the list of node groups", lambda client: client.nodegroup.list_all())
        return [(str(each.metadata.name or each.metadata.id_), str(each.metadata.id_)) for each in listed]

    def groups(self) -> dict[str, str]:
        """Ids of the node groups by name, and by themselves."""
        listed = self.node_groups()
        return {**dict(listed), **{each: each for _, each in listed}}

    def shapes(self, group: str | None, purpose: str) -> list["Shape"]:
        """The shapes that a node group (or the workspace) has for `job` or `deployment`."""
        question = f"the shapes of {group or 'the workspace'}"
        listed = self.ask(question, lambda client: client.shapes.list_shapes(node_group=group, purpose=purpose))
        return [seen_shape(each) for each in listed]

    def log(self, kind: str, name: str, since: float, words: str = "") -> Iterator[tuple[int, str]]:
        """Time (ns of the epoch) and text of every line that a job (its id) or an endpoint (its name) has printed.

        With `words` only of those that hold them.
        """
        start, known = int(since * NANO), set[tuple[int, str, str]]()
        while True:
            rows = self.log_page(kind, name, start, words)
            fresh = [row for row in rows if row not in known]
            yield from ((time_ns, text) for time_ns, _, text in fresh)
            if len(rows) < LOG_PAGE or not fresh:
                return
            start = fresh[-1][0]
            known = {row for row in rows if row[0] == start}

    def log_page(self, kind: str, name: str, start: int, words: str) -> list[tuple[int, str, str]]:
        """Up to a page of lines from a time (ns) on, oldest first: time, replica, text."""
        who = {"name_or_job": name} if kind == "job" else {"name_or_deployment": name}
        end = time.time_ns() + 3600 * NANO
        ask = self.ask if kind == "job" else self.ask_endpoints
        answer = ask(
            f"the log of {name}",
            lambda client: client.log.get_log(
                **who, start=start, end=end, limit=LOG_PAGE, direction="forward", q=words, timeout=LOG_TIMEOUT
            ),
            LOGS,
        )
        try:
            return sorted(rows_of(answer), key=lambda row: row[0])
        except (AttributeError, TypeError, ValueError):
            raise TransientError(f"the log of {name}: Lepton answered something that is no log") from None


@dataclass(frozen=True, slots=True)
class Shape:
    """What a job or an endpoint can be given."""

    name: str
    cpu: float
    memory_gib: float
    accelerators: str
    """For instance `8 x H100-80GB`; empty for a shape without."""


def how_far(job: SeenJob) -> tuple[int, float]:
    """The order in which jobs of one name count: what runs or has run, what waits, what is being removed."""
    phase = job_meaning(job.state, job.succeeded, job.failed).phase
    return {Phase.STOPPED: 2, Phase.WAITING: 1, Phase.UNKNOWN: 1}.get(phase, 0), job.created


def built(what: str, kind: Callable[..., T], document: Mapping[str, Any]) -> T:
    """The SDK's object for a document. Raises RejectedError, with what is wrong and no value, when it refuses one."""
    from pydantic import ValidationError  # noqa: PLC0415 (the SDK's)

    try:
        return kind(**without_none(dict(document)))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise RejectedError(f"{what}: the Lepton SDK refuses it: {wrong}") from None


def rows_of(answer: Mapping[str, Any]) -> list[tuple[int, str, str]]:
    """The lines of an answer from `GET /logs`: time, replica, text."""
    return [
        (int(stamp), str((stream.get("stream") or {}).get("replica", "")), str(text))
        for stream in (answer.get("data") or {}).get("result") or []
        for stamp, text in stream.get("values") or []
    ]


def readable_job(document: Any) -> SeenJob | None:
    """A job of a list; None for one that cannot be read."""
    from leptonai.api.v2.types.job import LeptonJob  # noqa: PLC0415

    try:
        return seen_job(LeptonJob(**document))
    except (ValueError, TypeError):
        return None


@contextmanager
def suppress_conflict() -> Iterator[None]:
    """Let a refusal pass that says that something is there already; any other goes on."""
    try:
        yield
    except RefusalError as error:
        if error.status != CONFLICT:
            raise


def missing_only(error: RefusalError) -> None:
    """Let a refusal pass that says that something is not there; any other goes on."""
    if error.status != 404:
        raise error


def seen_job(job: "LeptonJob") -> SeenJob:
    """Our value of an SDK object."""
    status, spec = job.status, job.spec
    envs = {str(each.name): str(each.value or "") for each in (spec.envs or [])} if spec else {}
    return SeenJob(
        id=str(job.metadata.id_ or ""),
        name=str(job.metadata.name or ""),
        state=str(status.state.value) if status and status.state else "",
        succeeded=int(status.succeeded or 0) if status else 0,
        failed=int(status.failed or 0) if status else 0,
        created=(job.metadata.created_at or 0) / 1000,
        ours=envs.get("PROCTOR_JOB", ""),
    )


def seen_endpoint(found: "LeptonDeployment") -> SeenEndpoint:
    """Our value of an SDK object, of either family; `phase` is the truth where `state` folds several into one."""
    status, spec = found.status, found.spec
    state = (status.phase or status.state) if status else ""
    envs = {str(each.name): str(each.value or "") for each in (spec.envs or [])} if spec else {}
    tokens = list(spec.api_tokens or []) if spec else []
    readable = [each.value for each in tokens if each.value and "*" not in each.value]
    return SeenEndpoint(
        name=str(found.metadata.name or found.metadata.id_ or ""),
        state=str(getattr(state, "value", state) or ""),
        url=str(status.endpoint.external_endpoint or "").rstrip("/") if status and status.endpoint else "",
        ours=envs.get("PROCTOR_JOB", ""),
        token=readable[0] if readable else None if tokens else "",
    )


def seen_shape(shape: Any) -> Shape:
    """Our value of an SDK object."""
    spec = shape.spec
    count = getattr(spec, "accelerator_num", None)
    return Shape(
        name=str(shape.metadata.id_ or spec.name),
        cpu=float(spec.cpu or 0),
        memory_gib=float(spec.memory_in_mb or 0) / 1024,
        accelerators=f"{count:g} x {spec.accelerator_type}" if count else "",
    )
