"""Jobs: /jobs and what lies below."""

import copy
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.lepton import blueprint, checks
from tests.lepton.fields import JOB, check_fields, only
from tests.lepton.script import Script
from tests.lepton.wire import Reply, Request, invalid, unknown
from tests.lepton.workload import Workload, event_documents, milliseconds, replica_documents, suffix
from tests.lepton.world import Route, World, body_of, found

OWNER = "me@example.com"
MODES = {
    "alive_only": (True, False),
    "archive_only": (False, True),
    "alive_and_archive": (True, True),
}
RUNNING = frozenset({"Running", "Restarting"})


@dataclass(frozen=True)
class Jobs:
    """The jobs of a world."""

    world: World

    def routes(self) -> list[Route]:
        """What is answered here."""
        return [
            Route("POST", "/jobs", self.create),
            Route("GET", "/jobs", self.listing),
            Route("GET", "/jobs/{}", self.one),
            Route("PATCH", "/jobs/{}", self.change),
            Route("DELETE", "/jobs/{}", self.delete),
            Route("GET", "/jobs/{}/replicas", self.replicas),
            Route("GET", "/jobs/{}/events", self.events),
            Route("GET", "/jobs/{}/replicas/{}/log", self.tail),
        ]

    def create(self, request: Request) -> Reply:
        """A new job, of whatever name: two requests are two jobs."""
        body = copy.deepcopy(body_of(request))
        check_fields(body, JOB)
        metadata, spec = body.get("metadata") or {}, body.get("spec") or {}
        name = checks.check_name(metadata.get("name") or metadata.get("id"))
        plan = blueprint.of_job(spec)
        checks.check_labels(metadata.get("labels") or {})
        checks.check_counts(spec)
        checks.check(self.world.stock, self.world.secrets, plan, "job")
        job = self.kept(name, metadata, spec, plan)
        self.world.start(job)
        return Reply(201, document(job))

    def kept(self, name: str, metadata: dict[str, Any], spec: dict[str, Any], plan: blueprint.Blueprint) -> Workload:
        """The record of a new job under an id of its own."""
        key = f"{name}-{suffix(4)}"
        while key in self.world.jobs:
            key = f"{name}-{suffix(4)}"
        log, labels = self.world.log_of("job", key), metadata.get("labels") if self.world.persist_labels else None
        shown = {"visibility": metadata.get("visibility") or "public"} | ({"labels": labels} if labels else {})
        spec.setdefault("ttl_seconds_after_finished", 600)
        job = Workload("job", key, name, shown, spec, plan, Script([]), log, self.world.deletion)
        self.world.jobs[key] = job
        return job

    def listing(self, request: Request) -> Reply:
        """One page of the jobs that the query asks for, newest first; empty after the last."""
        page, size = number(request, "page", 1), number(request, "page_size", 500)
        matching = [document(job) for job in self.matching(request)]
        shown = matching[(page - 1) * size : page * size]
        return Reply(200, {"jobs": shown, "total": len(matching), "page": page, "page_size": size})

    def matching(self, request: Request) -> Iterable[Workload]:
        """The jobs of a query."""
        states, groups = request.query.get("status", []), request.query.get("node_groups", [])
        creator, now = request.one("created_by"), time.time()
        for job in reversed(self.world.jobs.values()):
            if (
                visible(job, request)
                and now - job.created >= self.world.list_lag
                and request.one("q") in job.name
                and labelled(job.metadata.get("labels") or {}, request.one("query"))
                and (not states or job.state() in states)
                and (not groups or set(groups) & set(job.blueprint.groups))
                and creator in {"", OWNER}
            ):
                yield job

    def one(self, request: Request, key: str) -> Reply:
        """A job, if the query mode shows it."""
        return Reply(200, document(self.shown(request, key, "alive_only")))

    def shown(self, request: Request, key: str, mode: str) -> Workload:
        """A job; 404 when the query mode hides it."""
        job = found(self.world.jobs, "job", key)
        if not visible(job, request, mode):
            raise unknown(f"job {key}")
        return job

    def change(self, request: Request, key: str) -> Reply:
        """Stop it, or start it again; nothing else can be changed."""
        job, body = found(self.world.jobs, "job", key), body_of(request)
        check_fields(body, {"spec": only("stopped"), "metadata": None})
        wanted = (body.get("spec") or {}).get("stopped")
        if job.state() in {"Archived", "Deleting"}:
            raise unknown(f"job {key}")
        if not isinstance(wanted, bool) or wanted == bool(job.spec.get("stopped")):
            raise invalid("no valid field to update")
        job.spec["stopped"] = wanted
        if wanted:
            job.halt()
        elif job.stopped is not None:
            job.stopped = None
            self.world.start(job)
        return Reply(200, document(job))

    def delete(self, request: Request, key: str) -> Reply:
        """Begin to delete it; an archived one may be out of reach, and one that is being deleted is gone already."""
        job = self.shown(request, key, "alive_only")
        if job.state() == "Deleting" or (job.state() == "Archived" and not self.world.archive_deletable):
            raise unknown(f"job {key}")
        job.delete()
        return Reply(200)

    def replicas(self, request: Request, key: str) -> Reply:
        """Its replicas; none while it waits."""
        return Reply(200, replica_documents(self.shown(request, key, "alive_and_archive")))

    def events(self, request: Request, key: str) -> Reply:
        """What happened to it."""
        return Reply(200, event_documents(found(self.world.jobs, "job", key)))

    def tail(self, request: Request, key: str, replica: str) -> Reply:
        """Its log from the beginning, until it ends."""
        return tail(self.world, found(self.world.jobs, "job", key), replica)


def tail(world: World, workload: Workload, replica: str) -> Reply:
    """A live log."""
    if replica not in workload.replicas():
        raise unknown(f"replica {replica}")

    def over() -> bool:
        return workload.over() or world.stopping.is_set()

    return Reply(200, workload.log.follow(over, world.chunk), {"Content-Type": "text/plain"})


def visible(job: Workload, request: Request, otherwise: str = "alive_only") -> bool:
    """Whether the query mode shows a job."""
    mode = request.one("job_query_mode", otherwise)
    if mode not in MODES:
        raise invalid(f"unknown job_query_mode {mode}")
    alive, archived = MODES[mode]
    return archived if job.state() == "Archived" else alive


def labelled(labels: dict[str, str], query: str) -> bool:
    """Whether labels fit a selector: KEY or KEY=VALUE, all of them with commas between."""
    for term in query.split(","):
        key, equals, value = term.strip().partition("=")
        if key and (key not in labels or (equals and labels[key] != value)):
            return False
    return True


def number(request: Request, key: str, otherwise: int) -> int:
    """A positive number in a query."""
    text = request.one(key, str(otherwise))
    if not text.isdecimal() or int(text) < 1:
        raise invalid(f"{key} must be a positive number")
    return int(text)


def document(job: Workload) -> dict[str, Any]:
    """A job on the wire."""
    state = job.state()
    outcome = job.outcome() if state == "Archived" else state
    workers = job.blueprint.replicas
    status: dict[str, Any] = {
        "job_name": job.id,
        "state": state,
        "ready": workers if outcome in RUNNING else 0,
        "active": workers if outcome in RUNNING | {"Starting"} else 0,
        "failed": 1 if outcome == "Failed" else 0,
        "succeeded": job.spec.get("completions", 1) if outcome == "Completed" else 0,
        "creation_time": milliseconds(job.created),
        "job_history": [],
    }
    ended = job.stopped or job.driver.ended()
    if ended is not None:
        status["completion_time"] = milliseconds(ended)
    owner = {"created_by": OWNER, "owner": OWNER, "created_at": milliseconds(job.created), "version": 1}
    return {
        "metadata": {"id": job.id, "name": job.name, **owner, **copy.deepcopy(job.metadata)},
        "spec": copy.deepcopy(job.spec),
        "status": status,
    }
