"""`gapless queue`: queues, as they are and how they are doing."""

import sys
from collections.abc import Callable
from functools import wraps
from threading import Event
from typing import Any, Final

import click
import msgspec
from msgspec import Struct, structs

from gapless.cli.asking import confirm, yes_option
from gapless.cli.calling import Server, as_json, at_api
from gapless.cli.enqueueing import push
from gapless.cli.jobs import cancel, dead, job, peek, purge, redrive
from gapless.cli.places import duration
from gapless.cli.printing import ago, document, line, table
from gapless.cli.scheduling import schedules
from gapless.cli.verbs import ask, every_queue
from gapless.core.durations import spelled
from gapless.core.errors import UsageError
from gapless.core.jobs import OnDead, QueueOptions
from gapless.core.retry import Retry
from gapless.protocol.queues import (
    DeclareQueueRequest,
    DropQueueRequest,
    PauseRequest,
    QueueStats,
    ResumeRequest,
    StatsRequest,
)
from gapless.protocol.settings import QueueSettings, said

__all__ = ["queue"]

Command = Callable[..., None]
HEAD: Final = ("queue", "ready", "delayed", "leased", "dead", "oldest")
RATES: Final = ("enqueued", "claimed", "acked", "failed", "died")


@click.group()
def queue() -> None:
    """Look after queues, and what is in them."""


for _command in (push, peek, job, dead, redrive, purge, cancel, schedules):
    queue.add_command(_command)


@queue.command()
@at_api
@as_json
def ls(server: Server, as_json: bool) -> None:
    """List the queues, and how many jobs are where.

    Example: gapless queue ls
    """
    found = list(every_queue(server))
    if as_json:
        document(found)
        return
    rows = [
        (
            each.queue,
            each.ready,
            each.delayed,
            each.leased,
            each.dead,
            ago(each.oldest_ms),
            _state(each.paused),
        )
        for each in found
    ]
    table((*HEAD, ""), rows)


def _state(paused: bool) -> str:
    return "paused" if paused else ""


_STANDARD: Final = QueueOptions()
_COUNT: Final = click.IntRange(0)


def _durations(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    return None if value is None else tuple(duration(each) for each in value.split(","))


_OPTIONS: Final = (
    click.option("--waiting-max", type=_COUNT, help="How many may wait; 0: any number."),
    click.option("--keep-dead", "dead_ms", type=duration, help="How long; 0: for good."),
    click.option(
        "--keep-results",
        "result_ms",
        type=duration,
        help="How long jobs that are done stay, with their results.",
    ),
    click.option(
        "--on-dead",
        type=click.Choice([each.value for each in OnDead]),
        show_default="go_on",
        help="What a dead job does to the line of its key.",
    ),
    click.option("--fair/--not-fair", default=None, help="Serve the keys by turns."),
    click.option(
        "--ordered/--unordered",
        default=None,
        show_default="ordered",
        help="Whether at most one job of a key is in flight.",
    ),
    click.option(
        "--in-flight-per-worker",
        "in_flight_per_worker_max",
        type=_COUNT,
        help="How many jobs a worker may hold; 0: any number.",
    ),
    click.option(
        "--in-flight",
        "in_flight_max",
        type=_COUNT,
        help="How many jobs may be in flight; 0: any number.",
    ),
    click.option(
        "--lease",
        "lease_ms",
        type=duration,
        show_default=spelled(_STANDARD.lease_ms),
        help="How long a worker holds a job unless it says so.",
    ),
    click.option(
        "--delays",
        "delays_ms",
        callback=_durations,
        metavar="LIST",
        help="What follows each attempt, such as 1s,10s,5m; in place of the four options above.",
    ),
    click.option(
        "--jitter/--no-jitter",
        default=None,
        show_default="jitter",
        help="Draw delays between half and all.",
    ),
    click.option(
        "--cap",
        "cap_ms",
        type=duration,
        show_default=spelled(_STANDARD.retry.cap_ms),
        help="The longest delay.",
    ),
    click.option("--factor", type=float, show_default=str(_STANDARD.retry.factor), help="How delays grow."),
    click.option(
        "--delay",
        "base_ms",
        type=duration,
        show_default=spelled(_STANDARD.retry.base_ms),
        help="What follows the first attempt.",
    ),
    click.option(
        "--attempts",
        "attempts_max",
        type=click.IntRange(1),
        show_default=str(_STANDARD.retry.attempts_max),
        help="How many there are.",
    ),
)


def _given(given: dict[str, Any], kind: type[Struct]) -> dict[str, Any]:
    """Take out of what was given the fields of a kind."""
    found = {name: given.pop(name) for name in kind.__struct_fields__ if name in given}
    return {name: value for name, value in found.items() if value is not None}


def _options(command: Command) -> Command:
    """Give a command the options of a queue; it takes `options`."""

    @wraps(command)
    def run(**given: Any) -> None:
        retry = _given(given, Retry)
        options = _given(given, QueueSettings)
        if "on_dead" in options:
            options["on_dead"] = OnDead(options["on_dead"])
        if retry:
            options["retry"] = Retry(**retry)
        command(options=QueueSettings(**options), **given)

    for option in _OPTIONS:
        run = option(run)
    return run


@queue.command()
@click.argument("queue", metavar="QUEUE")
@_options
@click.option("--replace", is_flag=True, help="Let a queue that is there behave otherwise.")
@at_api
@as_json
def create(server: Server, queue: str, options: QueueSettings, replace: bool, as_json: bool) -> None:
    """Make a queue.

    One that is there stays as it is, but for the options that are given: if they are others, that is an error
    without --replace. Those from --attempts to --delays are given together, or not. What a rule of the
    configuration says, holds.

    Example: gapless queue create mails --attempts 3 --lease 1m
    """
    there = next((each for each in every_queue(server) if each.queue == queue), None)
    asked = said(options, QueueOptions)
    if there is not None and structs.replace(there.options, **asked) != there.options and not replace:
        raise UsageError(f"queue {queue!r} is there with other options: --replace lets it have these")
    answer = ask(server, DeclareQueueRequest(queue=queue, options=options))
    if as_json:
        document({"queue": queue, "fresh": answer.fresh})
    else:
        click.echo(f"queue {queue!r} {'is made' if answer.fresh else 'was there; it behaves as said now'}")


@queue.command()
@click.argument("queue", metavar="QUEUE")
@yes_option
@at_api
@as_json
def drop(server: Server, queue: str, yes: bool, as_json: bool) -> None:
    """Remove a queue with all its jobs, leased ones too. Asks first.

    Example: gapless queue drop mails --yes
    """
    (told,) = ask(server, StatsRequest(queue=queue)).queues
    jobs = told.ready + told.delayed + told.leased + told.dead + told.done
    confirm(f"Remove queue {queue!r} with its {jobs:,} jobs ({told.leased:,} of them being done)?", yes=yes)
    answer = ask(server, DropQueueRequest(queue=queue))
    if as_json:
        document({"queue": queue, "jobs": answer.jobs})
    else:
        click.echo(f"queue {queue!r} is gone, and {answer.jobs:,} jobs with it")


@queue.command()
@click.argument("queue", metavar="QUEUE")
@at_api
@as_json
def pause(server: Server, queue: str, as_json: bool) -> None:
    """Let a queue give no jobs until it is resumed. Jobs may be pushed; what is being done goes on.

    Example: gapless queue pause mails
    """
    ask(server, PauseRequest(queue=queue))
    _told(queue, as_json, paused=True)


@queue.command()
@click.argument("queue", metavar="QUEUE")
@at_api
@as_json
def resume(server: Server, queue: str, as_json: bool) -> None:
    """Let a queue give jobs again.

    Example: gapless queue resume mails
    """
    ask(server, ResumeRequest(queue=queue))
    _told(queue, as_json, paused=False)


def _told(queue: str, as_json: bool, *, paused: bool) -> None:
    if as_json:
        document({"queue": queue, "paused": paused})
    else:
        click.echo(f"queue {queue!r} {'is paused' if paused else 'gives jobs again'}")


@queue.command()
@click.argument("queue", metavar="[QUEUE]", default="")
@click.option("--watch", is_flag=True, help="Print it again and again, until Ctrl-C.")
@click.option("--every", type=duration, default="2s", show_default=True, help="How often, with --watch.")
@at_api
@as_json
def stats(server: Server, queue: str, watch: bool, every: int, as_json: bool) -> None:
    """Print how a queue is doing, or all of them.

    That is how many jobs are where, and rates per second over the last minute. With --watch and --json each
    line is an array.

    Example: gapless queue stats --watch
    """
    if not watch:
        _print_stats(ask(server, StatsRequest(queue=queue)).queues, as_json=as_json)
        return
    pause = Event()
    try:
        while True:
            found = ask(server, StatsRequest(queue=queue)).queues
            if not as_json and sys.stdout.isatty():
                click.clear()
            _print_stats(found, as_json=as_json)
            pause.wait(every / 1000)
    except KeyboardInterrupt:
        return


def _print_stats(found: list[QueueStats], *, as_json: bool) -> None:
    if as_json:
        line(msgspec.json.encode(found))
        return
    rows = [
        (
            each.queue,
            each.ready,
            each.delayed,
            each.leased,
            each.dead,
            ago(each.oldest_ms),
            *(round(getattr(each, f"{rate}_per_second"), 1) for rate in RATES),
            each.claimers,
            _state(each.paused),
        )
        for each in found
    ]
    table((*HEAD, *(f"{rate}/s" for rate in RATES), "claimers", ""), rows)
