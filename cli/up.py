"""`proctor up`, `down`, `reconcile` and `reap`: the stack of this machine."""

import os

import click

from proctor.cli import with_prefect
from proctor.cli.errors import CommandError, MistakeError


def say(sentence: str) -> None:
    """What goes on, for a person: on stderr, so that a command's output stays its own."""
    click.echo(sentence, err=True)


@click.command()
@click.option("--env", "names", multiple=True, metavar="NAME", help="Give this variable of the shell to the worker.")
@click.option("--limit", type=click.IntRange(min=1), help="Evaluations at a time from now on; 20 where never said.")
def up(names: tuple[str, ...], limit: int | None) -> None:
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
        use_server(stack.address.url, stack.address.source)
        return
    if not already:
        from proctor.cli import workers  # noqa: PLC0415 (what runs already costs no HTTP library)
        from proctor.cli.api import PrefectApi  # noqa: PLC0415
        from proctor.cli.stack import wait_for_worker  # noqa: PLC0415

        api = PrefectApi(stack.address)
        wait_for_worker(lambda: workers.online(api) > 0)
    click.echo(f"Prefect: {stack.address.url.removesuffix('/api')}")
    click.echo(f"to point `prefect` at it: export PREFECT_API_URL={stack.address.url}")


def use_server(url: str, source: str) -> None:
    """Make somebody else's server ready, and say how it gets a worker."""
    from proctor.cli import workers  # noqa: PLC0415
    from proctor.cli.api import connect  # noqa: PLC0415

    api = connect()
    if api.get("/health") is not True:
        raise CommandError(f"the Prefect server at {url} (from {source}) is not healthy")
    click.echo(f"using the Prefect server at {url} (from {source}); nothing is started here")
    with_prefect.meant_for({"PREFECT_API_URL": url})
    with_prefect.set_up(say)
    click.echo("its work pool, deployments and automations are up to date")
    if missing := workers.nobody(api):
        click.echo(missing)


@click.command()
def down() -> None:
    """End this machine's worker and server. Jobs go on; the next `up` finds them again."""
    from proctor.cli.stack import take_down  # noqa: PLC0415

    ended = take_down()
    if not ended:
        click.echo("nothing of this machine's stack was running")
        return
    click.echo(f"ended: {' and '.join(ended)}. Jobs that were running go on; `proctor up` finds them again.")


@click.command()
def reconcile() -> None:
    """Compare every unfinished evaluation with what is really there, and mend the difference."""
    use_known_server()
    if not with_prefect.reconcile(click.echo):
        click.echo("every evaluation is as its record says")


@click.command()
@click.option("--grace", default=600.0, show_default=True, help="Seconds since the evaluation's end.")
@click.option("--dry-run", is_flag=True, help="Only say what would be ended.")
def reap(*, grace: float, dry_run: bool) -> None:
    """End containers, processes and jobs whose evaluation is over; what other servers know is never touched."""
    use_known_server()
    if not with_prefect.reap(click.echo, grace, dry_run=dry_run):
        click.echo("nothing of ours is left behind")


def use_known_server() -> None:
    """Let Prefect talk to the server that commands ask. Raises CommandError when it is not healthy."""
    from proctor.cli.api import connect  # noqa: PLC0415

    api = connect()
    if api.get("/health") is not True:
        raise CommandError(f"the Prefect server at {api.address.url} is not healthy")
    with_prefect.meant_for({**os.environ, "PREFECT_API_URL": api.address.url})
