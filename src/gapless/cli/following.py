"""`gapless stream tail`: follow a stream, without a group."""

from queue import Queue
from threading import Event, Thread
from typing import Any, Final, NamedTuple

import click
import msgspec
from msgspec.structs import replace

from gapless.cli.calling import Server, as_json, at_api
from gapless.cli.exporting import key_option, message_line, partition_option
from gapless.cli.places import Place, place, since_ms, told
from gapless.cli.printing import line
from gapless.cli.verbs import ask, every_stream
from gapless.core.errors import GaplessError, PositionLost, Unavailable
from gapless.core.limits import PAGE_MESSAGES_MAX
from gapless.core.stream import Position
from gapless.protocol.messages import StreamPosition
from gapless.protocol.reading import Edge, ReadRequest, StreamMessage

__all__ = ["tail"]

WAIT_MS: Final = 20_000
AGAIN_MS: Final = 1_000
# What was read and not printed yet, so that who reads slowly slows the reading down.
PAGES_AHEAD_MAX: Final = 4


class _Missed(NamedTuple):
    """Messages of a partition that are not kept any more."""

    partition: int | None
    after: Position | None


class _Page(NamedTuple):
    """Messages, and where to go on."""

    messages: list[StreamMessage]
    through: Position


@click.command()
@click.argument("source")
@click.option(
    "--from",
    "start",
    type=place,
    metavar="PLACE",
    help='Begin there: earliest, latest (without it), an offset, EPOCH:OFFSET, a time, or "10m ago".',
)
@click.option(
    "--since", callback=since_ms, metavar="TIME", help='Begin then: "10m ago", 10m, or 2026-01-31T12:00Z.'
)
@partition_option
@key_option
@at_api
@as_json
def tail(
    server: Server,
    source: str,
    start: Place | None,
    since: int | None,
    partition: int | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Follow a stream, a namespace that is one, or a channel: each message on a line, until Ctrl-C.

    Each once and in the order of its partition, also across restarts of the server. No group stands where
    this stands; it says at the end where to go on. With --json each line is an object.

    Example: gapless stream tail orders --since 10m
    """
    if start is not None and since is not None:
        raise click.UsageError("give --from or --since, not both")
    begin = Place(at_ms=since) if since is not None else start or Place(edge=Edge.LATEST)
    request = ReadRequest(source=source, key=key, limit=PAGE_MESSAGES_MAX, **_place(begin))
    chosen = [partition] if partition is not None or key is not None else _partitions(server, source)
    arrived: Queue[object] = Queue(PAGES_AHEAD_MAX * len(chosen))
    for each in chosen:
        follower = _Follower(server, replace(request, partition=each), arrived)
        Thread(target=follower.run, daemon=True).start()
    position: Position | None = None
    try:
        while True:
            position = _take(arrived.get(), as_json=as_json) or position
    except KeyboardInterrupt:
        if position is not None and len(chosen) == 1:
            click.echo(f"to go on: --from {told(position)}", err=True)


def _place(begin: Place) -> dict[str, Any]:
    if begin.after is not None:
        return {"after": StreamPosition(begin.after.offset, begin.after.epoch)}
    if begin.edge is not None:
        return {"start": Edge(begin.edge)}
    return {"offset": begin.offset, "at_ms": begin.at_ms}


def _partitions(server: Server, source: str) -> list[int | None]:
    """Return the partitions of a stream; a channel has one, which has no number."""
    for status in every_stream(server):
        if status.stream == source:
            return [each.partition for each in status.partitions]
    return [None]


def _take(arrived: object, *, as_json: bool) -> Position | None:
    """Print what arrived; return where to go on."""
    if isinstance(arrived, GaplessError):
        raise arrived
    if isinstance(arrived, str):
        click.echo(arrived, err=True)
    elif isinstance(arrived, _Missed):
        _print_missed(arrived, as_json=as_json)
    elif isinstance(arrived, _Page):
        for message in arrived.messages:
            message_line(message, as_json=as_json)
        return arrived.through
    return None


def _print_missed(missed: _Missed, *, as_json: bool) -> None:
    after = told(missed.after) if missed.after is not None else None
    if as_json:
        line(msgspec.json.encode({"missed": True, "partition": missed.partition, "after": after}))
    else:
        where = f" after {after}" if after is not None else ""
        click.echo(f"messages{where} may have been missed: they are not kept any more", err=True)


class _Follower:
    """Reads one partition, on a thread of its own, and hands on what it finds."""

    def __init__(self, server: Server, request: ReadRequest, arrived: "Queue[object]") -> None:
        self._server = server
        self._request = request
        self._arrived = arrived
        self._pause = Event()

    def run(self) -> None:
        """Read on until the program ends; what is no use trying again is handed on as an error."""
        while True:
            try:
                self._read()
            except PositionLost:
                after = self._request.after
                lost = Position(after.epoch, after.offset) if after is not None else None
                self._arrived.put(_Missed(self._request.partition, lost))
                self._go_on(start=Edge.EARLIEST)
            except Unavailable as error:
                self._arrived.put(f"{error}; trying again")
                self._pause.wait(AGAIN_MS / 1000)
            except GaplessError as error:
                self._arrived.put(error)
                return

    def _read(self) -> None:
        page = ask(self._server, self._request)
        through = Position(page.epoch, page.through)
        self._arrived.put(_Page(page.messages, through))
        self._go_on(after=StreamPosition(through.offset, through.epoch), wait_ms=WAIT_MS)

    def _go_on(self, **where: Any) -> None:
        """Read from there next. Where it begins is found without waiting: only then nothing can be missed."""
        nowhere = {"after": None, "start": None, "offset": None, "at_ms": None, "wait_ms": 0}
        self._request = replace(self._request, **{**nowhere, **where})
