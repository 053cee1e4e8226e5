"""Reading the answers of a cluster; pure. Only fields that we asked for by name are read, never a release's JSON."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from proctor.blocks.slurm.states import Phase, meaning
from proctor.blocks.stage_files import Stage
from proctor.blocks.stage_files import parse as parse_stages

PERMANENT = re.compile(
    r"Permission denied|Read-only file system|[Qq]uota exceeded|Not a directory|File name too long|Operation not permitted"
)

NAMES = ("proctor-", "allocation")
"""How the names of our jobs begin, and what the books call a job of which they know little more than its id."""

NOTHING = {"", "N/A", "Unknown", "None", "(null)", "4294967294"}
"""What squeue and sacct print where there is no value."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What Slurm says about one job."""

    state: str
    source: str
    """`squeue` or `sacct`."""
    reason: str = ""
    start: str = ""
    """When it is expected to start, in the cluster's own time; empty when nobody knows."""
    elapsed: str = ""
    limit: str = ""
    nodes: str = ""
    exit_code: int | None = None
    end: str = ""
    user: str = ""
    """Number of the user whose job it is."""
    name: str = ""
    place: tuple[int, int] | None = None
    """Its place among all that wait in its partition, and how many those are."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that one look brought to light about one job."""

    facts: Facts | None = None
    asked: bool = True
    """Whether Slurm could be asked, so that knowing nothing means something."""
    trouble: str = ""
    """Why it could not."""
    job_id: str = ""
    why: str = ""
    """Why the job was told to end, by its own words."""
    begun: bool = False
    """Whether it has begun, and nobody has told it to end; a job that Slurm may start again does not say so."""
    forgotten: bool = False
    """Whether Slurm could be asked and has no such job (any more), though its books do not say that it has ended."""
    stages: Mapping[int, Mapping[str, Stage]] = field(default_factory=dict)
    """Stage files by the step's number."""
    requests: Mapping[int, int] = field(default_factory=dict)
    """Requests answered so far, by the step's number."""
    answering: frozenset[int] = frozenset()
    """Steps to which the server answered."""
    digests: Mapping[int, str] = field(default_factory=dict)
    server: Mapping[str, str] = field(default_factory=dict)
    """`here`, `pre-start`, `exit`, `digest`: the server's words."""
    server_log: tuple[str, ...] = ()
    ended_for: float | None = None
    """Seconds since the job ended, where Slurm says when that was."""


@dataclass(slots=True)
class Gathered:
    """The same while an answer is read."""

    words: dict[str, str] = field(default_factory=dict)
    stages: dict[int, dict[str, str]] = field(default_factory=dict)
    requests: dict[int, int] = field(default_factory=dict)
    answering: set[int] = field(default_factory=set)
    digests: dict[int, str] = field(default_factory=dict)
    server: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Look:
    """A whole answer."""

    facts: dict[str, Facts] = field(default_factory=dict)
    jobs: dict[int, Gathered] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)
    """`queue` and `account`: why Slurm could not be asked."""
    now: str = ""
    """The cluster's own time."""
    user: str = ""
    """Number of the user who asks."""
    whole: bool = False


def read(text: str) -> Look:
    """An answer of scripts/poll.sh, line by line; noise of a login shell between them is left out."""
    look = Look()
    for line in text.splitlines():
        mark, _, rest = line.partition(" ")
        if mark == "@Q":
            take_queue(look, rest)
        elif mark == "@A":
            take_account(look, rest)
        elif mark == "@R":
            take_rank(look, rest)
        elif mark in {"@queue-failed", "@account-failed"}:
            look.troubles[mark[1:].removesuffix("-failed")] = rest
        elif mark == "@end":
            look.now, _, look.user = rest.partition(" ")
            look.whole = True
        elif mark in WORDS:
            number, _, rest = rest.partition(" ")
            WORDS[mark](look.jobs.setdefault(int(number), Gathered()), rest)
    return look


def take_queue(look: Look, rest: str) -> None:
    """`id|state|start|end|elapsed|limit|nodes|user|name|reason`, the format we give to squeue."""
    fields = [known(each) for each in rest.split("|", 9)]
    if len(fields) == 10:
        job, state, start, end, elapsed, limit, nodes, user, name, reason = fields
        look.facts[job] = Facts(state, "squeue", reason, start, elapsed, limit, nodes, None, end, user, name)


def take_account(look: Look, rest: str) -> None:
    """`id|state|exit code:signal|start|end|nodes|user|name`, the format we give to sacct."""
    fields = [known(each) for each in rest.split("|", 7)]
    if len(fields) == 8:
        job, state, codes, start, end, nodes, user, name = fields
        code = codes.partition(":")[0]
        exit_code = int(code) if code.isdigit() else None
        facts = Facts(state, "sacct", "", start, "", "", nodes, exit_code, end, user, name.removesuffix("|"))
        look.facts.setdefault(job, facts)


def take_rank(look: Look, rest: str) -> None:
    """`id place total`."""
    job, place, total = rest.split()
    if job in look.facts:
        look.facts[job] = replace(look.facts[job], place=(int(place), int(total)))


def take_word(job: Gathered, rest: str) -> None:
    """`job_id` or `why`, and its text."""
    name, _, text = rest.partition(" ")
    job.words[name] = text


def take_stage(job: Gathered, rest: str) -> None:
    """Number of the step, name of the stage, its text."""
    number, _, rest = rest.partition(" ")
    name, _, text = rest.partition(" ")
    job.stages.setdefault(int(number), {})[name] = text


def take_count(job: Gathered, rest: str) -> None:
    """Number of the step, requests that it has had answered."""
    number, _, count = rest.partition(" ")
    if count.strip().isdigit():
        job.requests[int(number)] = int(count)


def take_digest(job: Gathered, rest: str) -> None:
    """Number of the step, digest of its image."""
    number, _, digest = rest.partition(" ")
    job.digests[int(number)] = digest


def take_server(job: Gathered, rest: str) -> None:
    """A word about the server."""
    name, _, text = rest.partition(" ")
    job.server[name] = text


def take_answering(job: Gathered, rest: str) -> None:
    """Number of a step to which the server answered."""
    job.answering.add(int(rest))


def take_log(job: Gathered, rest: str) -> None:
    """A line of the server's log."""
    job.log.append(rest)


WORDS = {
    "@J": take_word,
    "@S": take_stage,
    "@C": take_count,
    "@D": take_digest,
    "@V": take_server,
    "@M": take_answering,
    "@L": take_log,
}


def known(value: str) -> str:
    """A field, empty where it says that there is no value."""
    value = value.strip()
    return "" if value in NOTHING else value


def evidence(look: Look, number: int, name: str, native_id: str) -> Evidence:
    """What a look says about job `number`, whose name is `name`."""
    found = look.jobs.get(number, Gathered())
    job_id = found.words.get("job_id", "") or native_id
    told = look.facts.get(job_id)
    strange = told is not None and another(told, name, look.user)
    facts = None if strange else known_now(told)
    accounting_off = "disabled" in look.troubles.get("account", "")
    gone = bool(job_id) and not found.words.keys().isdisjoint({"begun", "silent"})
    asked = "queue" not in look.troubles and ("account" not in look.troubles or accounting_off)
    return Evidence(
        facts=facts,
        asked=asked,
        trouble="" if asked else next(iter(look.troubles.values())),
        job_id=job_id,
        why=found.words.get("why", ""),
        begun="begun" in found.words,
        forgotten=facts is None and "queue" not in look.troubles and (told is not None or (asked and gone)),
        stages={step: parse_stages(texts, name) for step, texts in found.stages.items()},
        requests=found.requests,
        answering=frozenset(found.answering),
        digests=found.digests,
        server=found.server,
        server_log=tuple(found.log),
        ended_for=seconds_between(facts.end, look.now) if facts else None,
    )


def known_now(facts: Facts | None) -> Facts | None:
    """The facts about a job; none where only the books say that it goes on: the controller that keeps them is away, or
    was killed before it had written the job down."""
    only_books = facts is not None and facts.source == "sacct"
    goes_on = facts is not None and meaning(facts.state).phase in {Phase.WAITING, Phase.RUNNING}
    return None if only_books and goes_on else facts


def another(facts: Facts, name: str, user: str) -> bool:
    """Whether this is not the job that we know by its id: a controller that was killed gives an id a second time.

    A name that is not ours is no proof, for a cluster may rename what is submitted.
    """
    of_others = bool(user and facts.user) and facts.user != user
    return of_others or (facts.name != name and facts.name.startswith(NAMES))


def seconds_between(earlier: str, later: str) -> float | None:
    """Seconds between two times of the same clock; None where one of them is no time."""
    first, second = moment(earlier), moment(later)
    return (second - first).total_seconds() if first and second else None


def answers(text: str, names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """From scripts/submit.sh: verb and words for each job that was answered, by name."""
    found = {}
    for line in text.splitlines():
        fields = line.split(" ", 3)
        if len(fields) >= 3 and fields[0] == "@proctor" and fields[2] in names:
            found[fields[2]] = (fields[1], fields[3] if len(fields) > 3 else "")
    return found


def refusal(errors: str) -> str:
    """What a cluster says about a folder that no second try would write; empty for anything else."""
    return next((line.strip() for line in errors.splitlines() if PERMANENT.search(line)), "")


def moment(text: str) -> datetime | None:
    """A time as `date` or Slurm write it; None for anything else."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
