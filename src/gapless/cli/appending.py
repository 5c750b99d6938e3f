"""`gapless stream append` and `gapless stream import`."""

from collections.abc import Callable

import click
import msgspec
from msgspec.structs import replace

from gapless.cli.calling import Server, as_json, at_api
from gapless.cli.enqueueing import header_option, numbered, source_of
from gapless.cli.loading import load, opened, payload, skip_option
from gapless.cli.places import position, told
from gapless.cli.printing import document
from gapless.cli.verbs import ask, every_stream
from gapless.core.errors import BadRequest
from gapless.core.stream import Position
from gapless.protocol.messages import StreamPosition
from gapless.protocol.reading import ReplayedMessage
from gapless.protocol.streams import AppendRequest, NewMessage

__all__ = ["append", "import_"]


@click.command()
@click.argument("stream")
@click.argument("data", required=False)
@click.option("--file", "-f", type=click.Path(dir_okay=False), help="Each line of this file is a message.")
@click.option("--key", help="Messages of one key stay in order.")
@click.option("--partition", type=click.IntRange(0), help="Which one, in place of the key's.")
@click.option("--message-id", help="Makes a repeat the same message; lines of a file get their number added.")
@header_option
@click.option(
    "--expected", callback=position, metavar="EPOCH:OFFSET", help="Only if the partition ends here."
)
@click.option(
    "--expected-key-offset", type=click.IntRange(0), help="Only if the key's last message is this; 0: none."
)
@skip_option
@at_api
@as_json
def append(
    server: Server,
    stream: str,
    data: str | None,
    file: str | None,
    expected: Position | None,
    skip: int,
    as_json: bool,
    **given: object,
) -> None:
    """Append DATA to a stream, and print its partition and position.

    DATA is JSON; what is not JSON is sent as a text. With - each line of standard input is a message, with
    --file each of a file; with --message-id such a load can be repeated, and what is there already is not
    doubled.

    Example: gapless stream append orders '{"total": 7}' --key ann
    """
    new = NewMessage(**given)  # type: ignore[arg-type]
    if expected is not None:
        new.expected = StreamPosition(expected.offset, expected.epoch)
    lines = source_of(data, file)
    if lines is not None:
        _load(server, stream, new, lines, skip, as_json=as_json)
        return
    assert data is not None
    new.data = payload(data.encode())
    (item,) = ask(server, AppendRequest(stream=stream, messages=[new])).messages
    if as_json:
        document(item.result)
        return
    click.echo(f"{item.result.partition} {told(Position(item.result.epoch, item.result.offset))}")
    if not item.result.fresh:
        click.echo("it was there already", err=True)


def _load(server: Server, stream: str, new: NewMessage, file: str, skip: int, *, as_json: bool) -> None:
    if new.expected is not None or new.expected_key_offset is not None:
        raise click.UsageError("what is expected is for a single message")

    def message(line: bytes, number: int) -> NewMessage:
        return replace(new, data=payload(line), message_id=numbered(new.message_id, number))

    _append_lines(server, stream, file, message, skip=skip, as_json=as_json)


@click.command("import")
@click.argument("stream")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@skip_option
@at_api
@as_json
def import_(server: Server, stream: str, file: str, skip: int, as_json: bool) -> None:
    """Append the messages of FILE, which `gapless stream export` wrote, to a stream that is there.

    It may be interrupted and repeated: a message that is there already is not stored again, as long as the
    server keeps message ids. Messages with a key go where the stream has that key, others stay together
    with those of their partition.

    Example: gapless stream import orders orders.ndjson
    """
    partitions = next((len(each.partitions) for each in every_stream(server) if each.stream == stream), 1)

    def message(line: bytes, number: int) -> NewMessage:
        try:
            exported = msgspec.json.decode(line, type=ReplayedMessage)
        except msgspec.DecodeError as error:
            raise BadRequest(
                f"line {number} is none of an export: {error}; for payloads alone use gapless stream append"
            ) from error
        return NewMessage(
            data=exported.data,
            b64data=exported.b64data,
            headers=exported.headers,
            key=exported.key or None,
            partition=None if exported.key else exported.partition % partitions,
            message_id=exported.message_id(),
        )

    _append_lines(server, stream, file, message, skip=skip, as_json=as_json)


def _append_lines(
    server: Server,
    stream: str,
    file: str,
    message: Callable[[bytes, int], NewMessage],
    *,
    skip: int,
    as_json: bool,
) -> None:
    fresh = 0

    def send(batch: list[bytes], before: int) -> None:
        nonlocal fresh
        messages = [message(line, number) for number, line in enumerate(batch, start=before + 1)]
        answer = ask(server, AppendRequest(stream=stream, messages=messages))
        fresh += sum(item.result.fresh for item in answer.messages)

    with opened(file) as lines:
        count = load(lines, "appending", "messages", send, skip=skip) - skip
    if as_json:
        document({"messages": count, "fresh": fresh})
    else:
        known = f"; {count - fresh:,} of them were there already" if fresh < count else ""
        click.echo(f"appended {count:,} messages{known}")
