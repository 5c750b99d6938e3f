"""The JSON codec: objects one a line. Application data is embedded as it is, never parsed."""

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from gapless.core.errors import BadRequest, BinaryMessage
from gapless.core.limits import FRAME_OBJECTS_MAX
from gapless.core.stream import Message
from gapless.protocol.codec import Codec, Subs
from gapless.protocol.messages import (
    NO_PAYLOAD,
    Command,
    ConnectResult,
    HistoryResult,
    Payload,
    Reply,
    SubscribeResult,
    payload,
)

__all__ = ["JsonCodec"]

Object = TypeVar("Object", Command, Reply)


class _Meta(Struct, gc=False):
    """Stored meta whose parts stay the text that they are."""

    info: Payload = NO_PAYLOAD
    tags: Payload = NO_PAYLOAD
    binary: bool = False


class _Annotated(Struct, gc=False, omit_defaults=True):
    """A publication whose parts are spliced."""

    data: Payload
    info: Payload = NO_PAYLOAD
    offset: int = 0
    tags: Payload = NO_PAYLOAD
    epoch: str = ""


_encode: Final = msgspec.json.Encoder().encode
_decode_command: Final = msgspec.json.Decoder(Command).decode
_decode_reply: Final = msgspec.json.Decoder(Reply).decode
_decode_meta: Final = msgspec.json.Decoder(_Meta).decode
_decode_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

# Objects within a command: its request, in that the subscriptions, in those each, in that a filter.
_NULLS_DEPTH: Final = 4


class JsonCodec(Codec):
    """Text frames. A raw newline in application data can only be white space, and is taken out."""

    binary = False
    separator = b"\n"
    ping = b"{}"

    def commands(self, payload: bytes) -> list[Command]:
        """Decode lines; one newline may follow the last."""
        return _objects(payload, _decode_command)

    def replies(self, payload: bytes) -> list[Reply]:
        """Decode lines; one newline may follow the last."""
        return _objects(payload, _decode_reply)

    def command(self, command: Command) -> bytes:
        """Encode to one line."""
        return _line(command)

    def reply(self, reply: Reply) -> bytes:
        """Encode to one line."""
        return _line(reply)

    def publication(self, message: Message, *, epoch: str = "") -> bytes:
        """Wrap the data, without a look at it."""
        data = message.data.replace(b"\n", b"")
        if message.meta or epoch or not data:
            return _annotated(message, data, epoch)
        if message.offset:
            return b'{"data":%b,"offset":%d}' % (data, message.offset)
        return b'{"data":%b}' % data

    def push_prefix(self, channel: str) -> bytes:
        """Everything before the publication."""
        return b'{"push":{"channel":%b,"pub":' % _encode(channel)

    def push(self, prefix: bytes, publication: bytes) -> bytes:
        """Join."""
        return prefix + publication + b"}}"

    def subscribed(self, id: int, result: SubscribeResult, publications: Sequence[bytes]) -> bytes:
        """Splice the publications in as the last field."""
        assert not result.publications
        line = _line(Reply(id=id, subscribe=result))
        return _with_publications(line, b"}}", publications)

    def connected(self, id: int, result: ConnectResult, subs: Subs) -> bytes:
        """Splice the subscriptions in as the last field."""
        assert not result.subs
        line = _line(Reply(id=id, connect=result))
        each = [
            b"%b:%b" % (_encode(channel), _with_publications(_line(subscribed), b"}", publications))
            for channel, (subscribed, publications) in subs.items()
        ]
        return b'%b,"subs":{%b}}}' % (line[:-2], b",".join(each))

    def published(self, id: int) -> bytes:
        """Fill in the number."""
        return b'{"id":%d,"publish":{}}' % id

    def history(self, id: int, result: HistoryResult, publications: Sequence[bytes]) -> bytes:
        """Splice the publications into the empty array, which is the first field."""
        assert not result.publications
        before, _, after = _line(Reply(id=id, history=result)).partition(b"[]")
        return b"%b[%b]%b" % (before, b",".join(publications), after)


def _line(message: Struct) -> bytes:
    line = _encode(message)
    return line.replace(b"\n", b"") if b"\n" in line else line


def _with_publications(line: bytes, closing: bytes, publications: Sequence[bytes]) -> bytes:
    """Splice publications into an encoded result as its last field, before what closes it."""
    if not publications:
        return line
    head = line.removesuffix(closing)
    comma = b"" if head.endswith(b"{") else b","
    return b'%b%b"publications":[%b]%b' % (head, comma, b",".join(publications), closing)


def _annotated(message: Message, data: bytes, epoch: str) -> bytes:
    meta = _decode_meta(message.meta or b"{}")
    if meta.binary or not data:
        raise BinaryMessage(f"message {message.offset} is not JSON")
    return _line(_Annotated(payload(data), meta.info, message.offset, meta.tags, epoch))


def _objects(lines: bytes, decode: Callable[[bytes], Object]) -> list[Object]:
    try:
        if not lines.isascii():
            lines.decode()
        if b"\n" not in lines:
            return [_object(lines, decode)]
        return [_object(line, decode) for line in _split(lines)]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"malformed JSON: {error}") from error
    except RecursionError as error:
        raise BadRequest("malformed JSON: nested too deep") from error


def _split(lines: bytes) -> list[bytes]:
    split = lines.removesuffix(b"\n").split(b"\n", FRAME_OBJECTS_MAX)
    if len(split) > FRAME_OBJECTS_MAX:
        raise BadRequest(f"more than {FRAME_OBJECTS_MAX} objects in one frame")
    return split


def _object(line: bytes, decode: Callable[[bytes], Object]) -> Object:
    try:
        return decode(line)
    except msgspec.ValidationError:
        if b"null" not in line:
            raise
        return decode(_without_nulls(_ESCAPE.sub(_mend, line), _NULLS_DEPTH))
    except msgspec.DecodeError:
        mended = _ESCAPE.sub(_mend, line)
        if mended == line:
            raise
        return decode(mended)


def _without_nulls(line: bytes, depth: int) -> bytes:
    """Leave out fields that are null: to Centrifugo they are zero values. Application data stays as it is."""
    kept: dict[str, msgspec.Raw] = {}
    for name, value in _decode_fields(line).items():
        text = bytes(value)
        if depth and name != "data" and text.startswith(b"{"):
            kept[name] = msgspec.Raw(_without_nulls(text, depth - 1))
        elif text != b"null":
            kept[name] = value
    return _encode(kept)


# JavaScript writes half of a surrogate pair (an emoji cut in two) as a lone escape, which msgspec refuses.
_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def _mend(escape: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if escape[1] else escape[0]
