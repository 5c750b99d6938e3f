"""The Protobuf codec: objects, each after its length as a varint.

What is sent to many is spliced by hand: a publication is kept encoded with its length, so that a push and a
list of them are a join. Everything else goes through `client_pb2`, made from `client.proto` by

    python -m grpc_tools.protoc -Isrc --python_out=src --pyi_out=src src/gapless/protocol/client.proto

with grpcio-tools 1.76, whose code runs on every protobuf runtime from 6.33 up to, not including, 8.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError
from msgspec import Struct

from gapless.core.errors import BadRequest
from gapless.core.limits import FRAME_OBJECTS_MAX
from gapless.core.stream import Message
from gapless.protocol import client_pb2, messages
from gapless.protocol.codec import Codec, Subs
from gapless.protocol.messages import (
    Command,
    ConnectResult,
    HistoryResult,
    Publication,
    PublishResult,
    Reply,
    SubscribeResult,
    payload,
)
from gapless.protocol.meta import Meta

__all__ = ["ProtobufCodec"]

# Tags of the fields that are spliced: field number and wire type, as in client.proto.
_REPLY_ID: Final = b"\x08"
_REPLY_PUSH: Final = b"\x22"
_REPLY_CONNECT: Final = b"\x2a"
_REPLY_SUBSCRIBE: Final = b"\x32"
_REPLY_HISTORY: Final = b"\x5a"
_PUSH_CHANNEL: Final = b"\x12"
_PUSH_PUB: Final = b"\x22"
_PUBLICATION_DATA: Final = b"\x22"
_PUBLICATION_OFFSET: Final = b"\x30"
_SUBSCRIBE_PUBLICATIONS: Final = b"\x3a"
_CONNECT_SUBS: Final = b"\x32"
_HISTORY_PUBLICATIONS: Final = b"\x0a"
_ENTRY_KEY: Final = b"\x0a"
_ENTRY_VALUE: Final = b"\x12"

_UINT63_MAX: Final = 2**63 - 1

_decode_meta: Final = msgspec.json.Decoder(Meta).decode


class ProtobufCodec(Codec):
    """Binary frames. Parts and publications carry their length, so that joining them needs no separator."""

    binary = True
    separator = b""
    ping = b"\x00"

    def commands(self, payload: bytes) -> list[Command]:
        """Decode length-prefixed commands."""
        return [_opened(Command, _parsed(client_pb2.Command, body)) for body in _split(payload)]

    def replies(self, payload: bytes) -> list[Reply]:
        """Decode length-prefixed replies."""
        return [_opened(Reply, _parsed(client_pb2.Reply, body)) for body in _split(payload)]

    def command(self, command: Command) -> bytes:
        """Encode with its length."""
        return _delimited(_sealed(command).SerializeToString())

    def reply(self, reply: Reply) -> bytes:
        """Encode with its length."""
        return _delimited(_sealed(reply).SerializeToString())

    def publication(self, message: Message, *, epoch: str = "") -> bytes:
        """Encode with its length."""
        if message.meta or epoch or not message.data:
            return _delimited(_annotated(message, epoch))
        encoded = _PUBLICATION_DATA + _delimited(message.data)
        if message.offset:
            encoded += _PUBLICATION_OFFSET + _varint(message.offset)
        return _delimited(encoded)

    def push_prefix(self, channel: str) -> bytes:
        """Everything of a Push before the publication's length."""
        return _PUSH_CHANNEL + _delimited(channel.encode()) + _PUSH_PUB

    def push(self, prefix: bytes, publication: bytes) -> bytes:
        """Join, and put the lengths before."""
        return _delimited(_REPLY_PUSH + _delimited(prefix + publication))

    def subscribed(self, id: int, result: SubscribeResult, publications: Sequence[bytes]) -> bytes:
        """Append the publications to the encoded result."""
        body = _subscribed(result, publications)
        return _delimited(_REPLY_ID + _varint(id) + _REPLY_SUBSCRIBE + _delimited(body))

    def connected(self, id: int, result: ConnectResult, subs: Subs) -> bytes:
        """Append the subscriptions to the encoded result, each an entry of a map."""
        assert not result.subs
        body = _sealed(result).SerializeToString()
        for channel, (subscribed, publications) in subs.items():
            value = _delimited(_subscribed(subscribed, publications))
            body += _CONNECT_SUBS + _delimited(
                _ENTRY_KEY + _delimited(channel.encode()) + _ENTRY_VALUE + value
            )
        return _delimited(_REPLY_ID + _varint(id) + _REPLY_CONNECT + _delimited(body))

    def published(self, id: int) -> bytes:
        """Encode like any other reply."""
        return self.reply(Reply(id=id, publish=PublishResult()))

    def history(self, id: int, result: HistoryResult, publications: Sequence[bytes]) -> bytes:
        """Append the publications to the encoded result."""
        assert not result.publications
        body = _sealed(result).SerializeToString() + _repeated(_HISTORY_PUBLICATIONS, publications)
        return _delimited(_REPLY_ID + _varint(id) + _REPLY_HISTORY + _delimited(body))


def _subscribed(result: SubscribeResult, publications: Sequence[bytes]) -> bytes:
    assert not result.publications
    encoded: bytes = _sealed(result).SerializeToString()
    return encoded + _repeated(_SUBSCRIBE_PUBLICATIONS, publications)


def _annotated(message: Message, epoch: str) -> bytes:
    meta = _decode_meta(message.meta or b"{}")
    publication = Publication(payload(message.data), meta.info, message.offset, meta.tags, epoch=epoch)
    encoded: bytes = _sealed(publication).SerializeToString()
    return encoded


# The wire by hand --------------------------------------------------------------------------


def _varint(number: int) -> bytes:
    if number < 0x80:
        return number.to_bytes(1)
    if number < 0x4000:
        return ((number & 0x7F | 0x80) << 8 | number >> 7).to_bytes(2)
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _delimited(body: bytes) -> bytes:
    return _varint(len(body)) + body


def _repeated(tag: bytes, bodies: Sequence[bytes]) -> bytes:
    return tag + tag.join(bodies) if bodies else b""


def _split(stream: bytes) -> list[bytes]:
    bodies = list(_bodies(stream))
    if not bodies:
        raise BadRequest("an empty frame")
    return bodies


def _bodies(stream: bytes) -> Iterator[bytes]:
    end = 0
    for _ in range(FRAME_OBJECTS_MAX):
        if end == len(stream):
            return
        length, start = _length(stream, end)
        end = start + length
        if end > len(stream):
            raise BadRequest("malformed Protobuf: a length beyond the frame's end")
        yield stream[start:end]
    if end < len(stream):
        raise BadRequest(f"more than {FRAME_OBJECTS_MAX} objects in one frame")


def _length(stream: bytes, start: int) -> tuple[int, int]:
    """Return the varint at `start`, and where it ends. Four bytes hold more than any frame."""
    length = 0
    for place, byte in enumerate(stream[start : start + 4]):
        length |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return length, start + place + 1
    raise BadRequest("malformed Protobuf: a length that does not end")


def _parsed(kind: Any, body: bytes) -> Any:
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise BadRequest(f"malformed Protobuf: {error}") from error


# Between client_pb2 and messages -----------------------------------------------------------

Convert = Callable[[Any], Any]


def _opened(kind: Any, message: Any) -> Any:
    """Turn a parsed message into its struct of type `kind`."""
    values = {}
    for descriptor, value in message.ListFields():
        name, convert = _OPEN[descriptor]
        values[name] = convert(value) if convert else value
    return kind(**values)


def _sealed(struct: Struct) -> Any:
    """Turn a struct into the message of the same name."""
    kind, fields = _SEAL[type(struct)]
    values = {}
    for name, convert in fields:
        value = getattr(struct, name)
        if value:
            values[name] = convert(value) if convert else value
    return kind(**values)


def _single_opener(field: FieldDescriptor) -> Convert | None:
    if field.message_type is not None:
        kind = getattr(messages, field.message_type.name)
        return lambda message: _opened(kind, message)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return payload
    return _uint63 if field.type == FieldDescriptor.TYPE_UINT64 else None


def _uint63(number: int) -> int:
    if number > _UINT63_MAX:
        raise BadRequest(f"{number} is out of range")
    return number


def _single_sealer(field: FieldDescriptor) -> Convert | None:
    if field.message_type is not None:
        return _sealed
    return bytes if field.type == FieldDescriptor.TYPE_BYTES else None


def _converter(field: FieldDescriptor, single: Callable[[FieldDescriptor], Convert | None]) -> Convert | None:
    """Make what converts a whole field; `single` makes what converts one value. None is no change."""
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        value = single(entry.fields_by_name["value"]) or _same
        return lambda held: {key: value(held[key]) for key in held}
    one = single(field)
    if field.is_repeated:
        item = one or _same
        return lambda held: [item(value) for value in held]
    return one


def _same(value: Any) -> Any:
    return value


_MESSAGES: Final[Sequence[Descriptor]] = list(client_pb2.DESCRIPTOR.message_types_by_name.values())
_OPEN: Final = {
    field: (field.name, _converter(field, _single_opener))
    for message in _MESSAGES
    for field in message.fields
}
_SEAL: Final = {
    getattr(messages, message.name): (
        getattr(client_pb2, message.name),
        [(field.name, _converter(field, _single_sealer)) for field in message.fields],
    )
    for message in _MESSAGES
}
