"""Which benchmark of an evaluation a user means by `ID.BENCHMARK`."""

from collections.abc import Iterable
from difflib import get_close_matches

from proctor.cli.api import PrefectApi
from proctor.cli.errors import CommandError, MistakeError
from proctor.cli.evaluations import FlowRun, children


def names_it(wanted: str, benchmark: str, step: str) -> bool:
    """Whether a text names a benchmark: by full name, short name or step."""
    return wanted in {benchmark, benchmark.rpartition(".")[2], step, step.rpartition(".")[0]}


def benchmark_run(api: PrefectApi, run: FlowRun, wanted: str) -> FlowRun:
    """The flow run of one benchmark. Raises CommandError (exit code 2) when there is none, or several."""
    known = children(api, run.id)
    found = [each for each in known if names_it(wanted, each.name, str(each.parameters.get("step", "")))]
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        steps = ", ".join(str(each.parameters.get("step")) for each in found)
        raise MistakeError(f"{wanted!r} means several benchmarks of {run.id}: {steps}")
    if any(names_it(wanted, name, "") for name in run.benchmarks):
        raise CommandError(f"{wanted} of {run.id} did not start yet ({run.id} is {run.state})")
    raise no_such(run, wanted, [each.name for each in known] or run.benchmarks)


def step_of(run: FlowRun, wanted: str, named: Iterable[tuple[str, str]]) -> str:
    """The step of a benchmark, from (benchmark, step) pairs. Raises CommandError (exit code 2)."""
    pairs = list(named)
    found = [step for benchmark, step in pairs if names_it(wanted, benchmark, step)]
    if len(found) == 1:
        return found[0]
    if found:
        raise MistakeError(f"{wanted!r} means several benchmarks of {run.id}: {', '.join(found)}")
    raise no_such(run, wanted, [benchmark for benchmark, _ in pairs])


def no_such(run: FlowRun, wanted: str, names: Iterable[str]) -> MistakeError:
    """There is no such benchmark; the nearest name, or all of them."""
    known = list(names)
    short = {name.rpartition(".")[2]: name for name in known}
    near = get_close_matches(wanted, [*known, *short], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
    return MistakeError(f"{run.id} has no benchmark {wanted!r}; {hint}")
