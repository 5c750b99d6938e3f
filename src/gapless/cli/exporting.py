"""`gapless stream read`, `export` and `replay`: what a stream keeps, to its end."""

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import click
import msgspec

from gapless.cli.calling import Server, as_json, at_api, refusal
from gapless.cli.loading import STDIN
from gapless.cli.places import Place, duration, place, since_ms
from gapless.cli.printing import document, line, one_line
from gapless.cli.progress import progress
from gapless.cli.verbs import ask, nearest_told
from gapless.core.errors import StoreError, UsageError
from gapless.core.limits import PAGE_MESSAGES_MAX, REPLAY_FACTOR_MAX, REPLAY_PAUSE_MAX_MS
from gapless.protocol.reading import Edge, ReadRequest, ReplayedMessage, ReplayRequest, StreamMessage

__all__ = ["export", "key_option", "message_line", "partition_option", "read", "replay"]

partition_option: Final = click.option("--partition", type=click.IntRange(0), help="Only this partition.")
key_option: Final = click.option("--key", help="Only messages with this key; the stream must be keyed.")
from_option: Final = click.option(
    "--from",
    "start",
    type=place,
    metavar="PLACE",
    help='Begin there: earliest, an offset, a time, or "10m ago".',
)
until_option: Final = click.option(
    "--to", "until", callback=since_ms, metavar="TIME", help='End before then: a time, or "10m ago".'
)


def message_line(message: StreamMessage, *, as_json: bool) -> None:
    """Print a message: its payload alone, or all that is known of it."""
    if as_json:
        line(one_line(msgspec.json.encode(message)))
    else:
        line(one_line(message.body()) if message.b64data is None else message.b64data)


# Read -----------------------------------------------------------------------------------------


@click.command()
@click.argument("source")
@from_option
@until_option
@partition_option
@key_option
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many messages.")
@click.option("--backwards", is_flag=True, help="The newest first, those before --from.")
@at_api
@as_json
def read(
    server: Server,
    source: str,
    start: Place | None,
    until: int | None,
    limit: int,
    backwards: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Print messages of a stream, a namespace that is one, or a channel, and end.

    From the oldest on, unless --from says otherwise; of all partitions, by their times. With --json each line
    is an object.

    Example: gapless stream read orders --from 1h --key ann
    """
    if backwards:
        if until is not None:
            raise click.UsageError("--backwards ends by --limit, not by --to")
        found: Generator[StreamMessage] = _backwards(server, ReadRequest(source=source, **given), start)
    else:
        request = ReplayRequest(source=source, until_ms=until, factor=0, **given)
        found = _replayed(server, request, start)
    with closing(found):
        for message in islice(found, limit):
            message_line(message, as_json=as_json)


def _backwards(server: Server, request: ReadRequest, start: Place | None) -> Generator[StreamMessage]:
    start = _begun(start) if start is not None else Place(edge=Edge.LATEST)
    request = msgspec.structs.replace(
        request,
        backwards=True,
        limit=PAGE_MESSAGES_MAX,
        start=Edge(start.edge) if start.edge else None,
        offset=start.offset,
        at_ms=start.at_ms,
    )
    while True:
        page = ask(server, request)
        yield from page.messages
        if page.after <= page.floor:
            return
        request = msgspec.structs.replace(request, start=None, at_ms=None, offset=page.after + 1)


def _replayed(
    server: Server, request: ReplayRequest, start: Place | None, pause_ms: int = 0
) -> Generator[ReplayedMessage]:
    """Yield what a replay gives; `latest` is its end already.

    Raises:
        GaplessError: the server cannot be reached, refuses, or had to end before the end.
    """
    start = _begun(start) if start is not None else Place()
    if start.edge == Edge.LATEST:
        return
    request = msgspec.structs.replace(request, offset=start.offset, at_ms=start.at_ms)
    with nearest_told(server, request):
        for told in server.lines("/stream/replay", request, pause_ms=pause_ms):
            if told.startswith(b'{"error":'):
                raise refusal(msgspec.json.decode(told)["error"])
            yield msgspec.json.decode(told, type=ReplayedMessage)


def _begun(start: Place) -> Place:
    if start.after is not None:
        raise click.UsageError("a position is for gapless stream tail; give an offset, with --partition")
    return start


# Replay ---------------------------------------------------------------------------------------


def _speed(ctx: click.Context, param: click.Parameter, value: str) -> float:
    try:
        factor = 0.0 if value == "max" else float(value)
    except ValueError:
        factor = -1.0
    if value != "max" and not 0 < factor <= REPLAY_FACTOR_MAX:
        raise click.BadParameter(f"{value!r} is no speed; write max, or a factor such as 1 or 10", ctx, param)
    return factor


@click.command()
@click.argument("source")
@click.option(
    "--speed", callback=_speed, default="1", show_default=True, help="How many times as fast, or max."
)
@click.option("--pause", type=duration, default="1h", show_default=True, help="No pause is longer.")
@from_option
@until_option
@partition_option
@key_option
@at_api
@as_json
def replay(
    server: Server,
    source: str,
    speed: float,
    pause: int,
    start: Place | None,
    until: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Print messages again as they came, with the pauses between them, or faster; to what is the end now.

    With --json each line is an object.

    Example: gapless stream replay orders --from 10m --speed 10
    """
    if pause > REPLAY_PAUSE_MAX_MS:
        raise UsageError("--pause is up to 1h")
    request = ReplayRequest(source=source, until_ms=until, factor=speed, pause_ms=pause, **given)
    try:
        for message in _replayed(server, request, start, pause):
            message_line(message, as_json=as_json)
    except KeyboardInterrupt:
        return


# Export ---------------------------------------------------------------------------------------


@click.command()
@click.argument("source")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), default=STDIN)
@click.option("--overwrite", is_flag=True, help="Replace FILE if there is one.")
@from_option
@until_option
@partition_option
@key_option
@at_api
@as_json
def export(
    server: Server,
    source: str,
    file: str,
    overwrite: bool,
    start: Place | None,
    until: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Write messages into FILE, or to standard output: objects, one a line, for `gapless stream import`.

    FILE is there once it is whole; until then it is called FILE.partial.

    Example: gapless stream export orders orders.ndjson --from 30d
    """
    request = ReplayRequest(source=source, until_ms=until, factor=0, **given)
    count = 0
    with _written(file, overwrite=overwrite) as out, progress("exporting", "messages") as tell:
        for message in _replayed(server, request, start):
            out.write(msgspec.json.encode(message) + b"\n")
            count += 1
            if not count % PAGE_MESSAGES_MAX:
                tell(count, None)
    if file == STDIN:
        return
    if as_json:
        document({"file": file, "messages": count})
    else:
        click.echo(f"{file}: {count:,} messages of {source!r}")


@contextmanager
def _written(file: str, *, overwrite: bool) -> Iterator[IO[bytes]]:
    """Open a file that takes its name once it is whole and on the disk; or standard output."""
    if file == STDIN:
        out = sys.stdout.buffer
        yield out
        out.flush()
        return
    path = Path(file)
    partial = path.with_name(path.name + ".partial")
    if path.exists() and not overwrite:
        raise UsageError(f"{file} exists: choose another name, or say --overwrite")
    try:
        with partial.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        partial.replace(path)
    except OSError as error:
        raise StoreError(f"{partial} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
