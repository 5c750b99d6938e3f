"""`gapless queue`: queues, as they are and how they are doing."""

import sys
from collections.abc import Callable
from functools import wraps
from threading import Event
from typing import Any, Final

import click
import msgspec

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
_OPTIONS: Final = (
    click.option("--waiting-max", type=_COUNT, default=0, help="How many may wait; 0: any number."),
    click.option("--keep-dead", "dead_ms", type=duration, default="0", help="How long; 0: for good."),
    click.option(
        "--keep-results",
        "result_ms",
        type=duration,
        default="0",
        help="How long jobs that are done stay, with their results.",
    ),
    click.option(
        "--on-dead",
        type=click.Choice([each.value for each in OnDead]),
        default="go_on",
        show_default=True,
        help="What a dead job does to the line of its key.",
    ),
    click.option("--fair", is_flag=True, help="Serve the keys by turns."),
    click.option(
        "--ordered/--unordered",
        default=True,
        show_default=True,
        help="Whether at most one job of a key is in flight.",
    ),
    click.option(
        "--in-flight-per-worker",
        "in_flight_per_worker_max",
        type=_COUNT,
        default=0,
        help="How many jobs a worker may hold; 0: any number.",
    ),
    click.option(
        "--in-flight",
        "in_flight_max",
        type=_COUNT,
        default=0,
        help="How many jobs may be in flight; 0: any number.",
    ),
    click.option(
        "--lease",
        "lease_ms",
        type=duration,
        default=spelled(_STANDARD.lease_ms),
        show_default=True,
        help="How long a worker holds a job unless it says so.",
    ),
    click.option(
        "--delays",
        metavar="LIST",
        help="What follows each attempt, such as 1s,10s,5m; in place of the four options above.",
    ),
    click.option(
        "--jitter/--no-jitter", default=True, show_default=True, help="Draw delays between half and all."
    ),
    click.option(
        "--cap",
        type=duration,
        default=spelled(_STANDARD.retry.cap_ms),
        show_default=True,
        help="The longest delay.",
    ),
    click.option(
        "--factor", type=float, default=_STANDARD.retry.factor, show_default=True, help="How delays grow."
    ),
    click.option(
        "--delay",
        "base",
        type=duration,
        default=spelled(_STANDARD.retry.base_ms),
        show_default=True,
        help="What follows the first attempt.",
    ),
    click.option(
        "--attempts",
        type=click.IntRange(1),
        default=_STANDARD.retry.attempts_max,
        show_default=True,
        help="How many there are.",
    ),
)


def _options(command: Command) -> Command:
    """Give a command the options of a queue; it takes `options`."""

    @wraps(command)
    def run(
        delays: str | None, attempts: int, base: int, factor: float, cap: int, jitter: bool, **given: Any
    ) -> None:
        retry = Retry(
            attempts_max=attempts,
            base_ms=base,
            factor=factor,
            cap_ms=cap,
            jitter=jitter,
            delays_ms=tuple(duration(each) for each in delays.split(",")) if delays else (),
        )
        names = QueueOptions.__struct_fields__
        options = {name: given.pop(name) for name in names if name in given}
        command(
            options=QueueOptions(**{**options, "on_dead": OnDead(options["on_dead"])}, retry=retry), **given
        )

    for option in _OPTIONS:
        run = option(run)
    return run


@queue.command()
@click.argument("queue", metavar="QUEUE")
@_options
@click.option("--replace", is_flag=True, help="Let a queue that is there behave otherwise.")
@at_api
@as_json
def create(server: Server, queue: str, options: QueueOptions, replace: bool, as_json: bool) -> None:
    """Make a queue.

    One that is there with the same options stays as it is; with others, that is an error without --replace.

    Example: gapless queue create mails --attempts 3 --lease 1m
    """
    there = next((each for each in every_queue(server) if each.queue == queue), None)
    if there is not None and there.options != options and not replace:
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
