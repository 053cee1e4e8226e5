"""`proctor up`, `down`, `reconcile` and `reap`: the stack of this machine."""

import os

import click

from proctor.cli import with_prefect
from proctor.cli.answer import Answer, json_option
from proctor.cli.errors import MistakeError


def say(sentence: str) -> None:
    """What goes on, for a person: on stderr, so that a command's output stays its own."""
    click.echo(sentence, err=True)


@click.command()
@click.option("--env", "names", multiple=True, metavar="NAME", help="Give this variable of the shell to the worker.")
@click.option("--limit", type=click.IntRange(min=1), help="Evaluations at a time from now on; 20 where never said.")
@json_option
def up(names: tuple[str, ...], *, limit: int | None, answer: Answer) -> None:
    """Bring up what evaluations need: server, deployments, automations and a worker. Does nothing where all runs.

    The worker sees the machine's settings and no other variable of this shell, except those named with --env; for them it
    is started again. Runs that no `proctor run` starts (schedules, `prefect deployment run`) read their host: variables there.

    With PREFECT_API_URL (or an active Prefect profile) that server is used: it gets our work pool, deployments and
    automations, and nothing is started here.
    """
    from proctor.cli.home import home, limit_file  # noqa: PLC0415 (`reconcile` may do without)
    from proctor.cli.stack import ensure, running  # noqa: PLC0415

    for name in names:
        if name not in os.environ:
            raise MistakeError(f"--env {name}: this variable is not set in this shell")
    if limit is not None:
        (home() / limit_file().name).write_text(str(limit))
    already = running() and not names
    stack = ensure(say, names)
    if not stack.own:
        if names:
            raise MistakeError("--env is for this machine's own worker; a worker of another server has its own shell")
        use_server(stack.address.url, stack.address.source, answer)
        return
    if not already:
        from proctor.cli import workers  # noqa: PLC0415 (what runs already costs no HTTP library)
        from proctor.cli.api import PrefectApi  # noqa: PLC0415
        from proctor.cli.stack import wait_for_worker  # noqa: PLC0415

        api = PrefectApi(stack.address)
        wait_for_worker(lambda: workers.online(api) > 0)
    url = stack.address.url
    answer.give(
        {"url": url, "own": True, "worker": True},
        f"Prefect: {url.removesuffix('/api')}",
        f"to point `prefect` at it: export PREFECT_API_URL={url}",
    )


def use_server(url: str, source: str, answer: Answer) -> None:
    """Make somebody else's server ready, and say how it gets a worker."""
    from proctor.cli import workers  # noqa: PLC0415
    from proctor.cli.api import connect  # noqa: PLC0415

    api = connect()
    api.require()
    answer.remark(f"using the Prefect server at {url} (from {source}); nothing is started here")
    with_prefect.meant_for({"PREFECT_API_URL": url})
    with_prefect.set_up(say)
    missing = workers.nobody(api)
    said = ("its work pool, deployments and automations are up to date", *([missing] if missing else []))
    answer.give({"url": url, "own": False, "worker": not missing}, *said)


@click.command()
@json_option
def down(*, answer: Answer) -> None:
    """End this machine's worker and server. Jobs go on; the next `up` finds them again."""
    from proctor.cli.stack import take_down  # noqa: PLC0415

    ended = take_down()
    said = f"ended: {' and '.join(ended)}. Jobs that were running go on; `proctor up` finds them again."
    answer.give({"ended": ended}, said if ended else "nothing of this machine's stack was running")


@click.command()
@json_option
def reconcile(*, answer: Answer) -> None:
    """Compare every unfinished evaluation with what is really there, and mend the difference."""
    use_known_server()
    done: list[str] = []
    with_prefect.reconcile(done.append)
    answer.give({"done": done}, *(done or ["every evaluation is as its record says"]))


@click.command()
@click.option("--grace", default=600.0, show_default=True, help="Seconds since the evaluation's end.")
@click.option("--dry-run", is_flag=True, help="Only say what would be ended.")
@json_option
def reap(*, grace: float, dry_run: bool, answer: Answer) -> None:
    """End containers, processes and jobs whose evaluation is over; what other servers know is never touched."""
    use_known_server()
    done: list[str] = []
    with_prefect.reap(done.append, grace, dry_run=dry_run)
    answer.give({"done": done, "dry_run": dry_run}, *(done or ["nothing of ours is left behind"]))


def use_known_server() -> None:
    """Let Prefect talk to the server that commands ask. Raises CommandError when it is not healthy, or refuses us."""
    from proctor.cli.api import connect  # noqa: PLC0415

    api = connect()
    api.require()
    with_prefect.meant_for({**os.environ, "PREFECT_API_URL": api.address.url})
