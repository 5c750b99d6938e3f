"""`gapless queue`: its jobs, one by one: peek, job, dead, redrive, purge, cancel."""

from collections.abc import Callable, Iterator
from threading import Event
from typing import Final

import click
from msgspec import structs

from gapless.cli.asking import confirm, yes_option
from gapless.cli.calling import Server, as_json, at_api
from gapless.cli.loading import payload as payload_of
from gapless.cli.printing import document, payload, printable, table, when
from gapless.cli.progress import progress
from gapless.cli.verbs import ask, pages
from gapless.core.jobs import State
from gapless.core.limits import BROWSE_JOBS_MAX
from gapless.protocol.queues import (
    BrowseRequest,
    CancelRequest,
    JobRequest,
    JobView,
    PurgeRequest,
    RedriveRequest,
    StatsRequest,
)

__all__ = ["cancel", "dead", "job", "peek", "purge", "redrive"]

Command = Callable[..., None]
STATES: Final = "Which jobs; those that wait are ready, or delayed until later or their retry."

limit_option: Final = click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="How many jobs."
)
after_option: Final = click.option("--after", default="", metavar="ID", help="Those that follow this job.")


def _state_option(*states: State, default: State) -> Callable[[Command], Command]:
    choice = click.Choice([each.value for each in states])
    return click.option("--state", type=choice, default=default.value, show_default=True, help=STATES)


# Look -----------------------------------------------------------------------------------------


@click.command()
@click.argument("queue")
@_state_option(State.WAITING, State.LEASED, State.DEAD, State.DONE, default=State.WAITING)
@limit_option
@after_option
@at_api
@as_json
def peek(server: Server, queue: str, state: str, limit: int, after: str, as_json: bool) -> None:
    """Print the oldest jobs of a state, without touching them.

    Example: gapless queue peek mails --state leased
    """
    found = list(_browsed(server, queue, State(state), limit, after))
    if as_json:
        document(found)
        return
    rows = [
        (view.id, view.attempt, view.priority, view.key or "", when(view.due_ms), payload(view.body()))
        for view in found
    ]
    table(("id", "attempt", "priority", "key", "due", "payload"), rows)


@click.command()
@click.argument("id")
@at_api
@as_json
def job(server: Server, id: str, as_json: bool) -> None:
    """Print a job as it stands.

    Example: gapless queue job 17-9f2c
    """
    _print_job(ask(server, JobRequest(id=id)), as_json=as_json)


@click.command()
@click.argument("queue")
@limit_option
@after_option
@click.option("--details", is_flag=True, help="With payloads, headers and tracebacks.")
@at_api
@as_json
def dead(server: Server, queue: str, limit: int, after: str, details: bool, as_json: bool) -> None:
    """Print the dead jobs of a queue: why they died, after how many attempts, when, and at which worker.

    Example: gapless queue dead mails --details
    """
    found = list(_browsed(server, queue, State.DEAD, limit, after))
    if as_json:
        document(found)
    elif details:
        for view in found:
            _print_job(view, as_json=False)
            click.echo()
    else:
        rows = [
            (view.id, view.attempt, when(view.enqueued_ms), when(view.ended_ms), view.worker, view.reason)
            for view in found
        ]
        table(("id", "attempts", "enqueued", "died", "worker", "reason"), rows)


def _browsed(server: Server, queue: str, state: State, limit: int, after: str) -> Iterator[JobView]:
    request = BrowseRequest(queue=queue, state=state, after=after, limit=min(limit, BROWSE_JOBS_MAX))
    for page in pages(server, request):
        yield from page.jobs[:limit]
        limit -= len(page.jobs)
        if limit <= 0:
            return


def _print_job(view: JobView, *, as_json: bool) -> None:
    if as_json:
        document(view)
        return
    click.secho(view.id, bold=True)
    times = {"enqueued": view.enqueued_ms, "due": view.due_ms, "ended": view.ended_ms}
    told: dict[str, object] = {"queue": view.queue, "state": view.state.value, "attempt": view.attempt}
    told |= {name: when(time_ms) for name, time_ms in times.items()}
    told |= {"key": view.key, "priority": view.priority, "message_id": view.message_id, "worker": view.worker}
    told |= view.headers
    told |= {"payload": view.body().decode(errors="backslashreplace")}
    told |= {"result": (view.b64result or bytes(view.result)).decode(errors="backslashreplace")}
    told |= {"reason": view.reason}
    for name, value in told.items():
        if value not in (None, ""):
            click.echo(f"  {printable(name):<11} {printable(str(value))}")
    for each in view.details.splitlines():
        click.echo(f"    {printable(each)}")


# Change ---------------------------------------------------------------------------------------


@click.command()
@click.argument("id")
@at_api
@as_json
def cancel(server: Server, id: str, as_json: bool) -> None:
    """Remove a job that was not started, and print what it was.

    Example: gapless queue cancel 17-9f2c
    """
    _print_job(ask(server, CancelRequest(id=id)), as_json=as_json)


@click.command()
@click.argument("queue")
@click.argument("ids", nargs=-1)
@click.option("--all", "whole", is_flag=True, help="All that are dead now, the oldest first.")
@click.option("--limit", type=click.IntRange(1), help="How many of all.")
@click.option("--rate", type=click.IntRange(0), default=0, help="How many a second; 0: at once.")
@click.option("--data", help="Another payload, for a single job.")
@at_api
@as_json
def redrive(
    server: Server,
    queue: str,
    ids: tuple[str, ...],
    whole: bool,
    limit: int | None,
    rate: int,
    data: str | None,
    as_json: bool,
) -> None:
    """Let dead jobs wait again, as if they were new.

    Interrupted, what was moved stays so.

    Example: gapless queue redrive mails --all --rate 50
    """
    if bool(ids) is whole:
        raise click.UsageError("name the jobs, or say --all")
    if data is not None and len(ids) != 1:
        raise click.UsageError("--data is for a single job: name it")
    request = RedriveRequest(queue=queue)
    if data is not None:
        request.data = payload_of(data.encode())
    total = len(ids) if ids else _count(server, queue, State.DEAD, limit)
    moved = _moved(server, request, ids, total, rate)
    _print_count(queue, moved, "wait again", as_json=as_json)


def _moved(server: Server, request: RedriveRequest, ids: tuple[str, ...], total: int, rate: int) -> int:
    """Redrive so many, a second's worth at a time; return how many were dead."""
    pause, moved, asked = Event(), 0, 0
    at_once = min(rate or BROWSE_JOBS_MAX, BROWSE_JOBS_MAX)
    with progress("redriving", "jobs") as tell:
        while asked < total:
            count = min(at_once, total - asked)
            chosen = list(ids[asked : asked + count]) if ids else None
            answer = ask(server, structs.replace(request, ids=chosen, limit=count))
            asked, moved = asked + count, moved + answer.jobs
            tell(asked, total)
            if not ids and not answer.more:
                break
            if rate and asked < total:
                pause.wait(count / rate)
    return moved


@click.command()
@click.argument("queue")
@click.argument("ids", nargs=-1)
@_state_option(State.WAITING, State.DEAD, State.DONE, default=State.DEAD)
@click.option("--limit", type=click.IntRange(1), help="How many of all, the oldest first.")
@yes_option
@at_api
@as_json
def purge(
    server: Server, queue: str, ids: tuple[str, ...], state: str, limit: int | None, yes: bool, as_json: bool
) -> None:
    """Remove the jobs of a state for good: all that are there now, or those that are named. Asks first.

    Example: gapless queue purge mails --state dead --yes
    """
    total = len(ids) if ids else _count(server, queue, State(state), limit)
    confirm(f"Remove {total:,} {state} jobs of queue {queue!r} for good?", yes=yes)
    request, gone, asked = PurgeRequest(queue=queue, state=State(state)), 0, 0
    with progress("purging", "jobs") as tell:
        while asked < total:
            count = min(BROWSE_JOBS_MAX, total - asked)
            chosen = list(ids[asked : asked + count]) if ids else None
            answer = ask(server, structs.replace(request, ids=chosen, limit=count))
            asked, gone = asked + count, gone + answer.jobs
            tell(asked, total)
            if not ids and not answer.more:
                break
    _print_count(queue, gone, "are gone", as_json=as_json)


def _count(server: Server, queue: str, state: State, limit: int | None) -> int:
    """Return how many jobs of a state there are, up to `limit`: who comes later is not meant."""
    (told,) = ask(server, StatsRequest(queue=queue)).queues
    count: int = told.ready + told.delayed if state is State.WAITING else getattr(told, state.value)
    return count if limit is None else min(count, limit)


def _print_count(queue: str, jobs: int, what: str, *, as_json: bool) -> None:
    if as_json:
        document({"queue": queue, "jobs": jobs})
    else:
        click.echo(f"{jobs:,} jobs of queue {queue!r} {what}")
