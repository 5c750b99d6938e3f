"""How a page looks to people who scroll: JSON in which the stored bytes stand as they are."""

import base64
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from gapless.broker.newest import Scroll
from gapless.core.cursor import cursors
from gapless.core.stream import Message, Page

__all__ = ["answer", "items"]

_PLAIN: Final = b'{"cursor":"%b","offset":%d,"time":%d,"data":%b,"tags":{},"publisher":null}'
_BESIDE: Final = b'{"cursor":"%b","offset":%d,"time":%d,%b,"tags":%b,"publisher":%b}'
_ANSWER: Final = (
    b'{"items":[%b],"before_cursor":"%b","after_cursor":"%b","has_before":%b,"has_after":%b,'
    b'"head":%d,"oldest":%d,"epoch":%b}'
)
_BOOLEANS: Final = (b"false", b"true")


class _Meta(Struct, gc=False):
    """Stored meta whose parts stay the text that they are."""

    info: Raw = Raw(b"null")
    tags: Raw = Raw(b"{}")
    binary: bool = False


_decode_meta: Final = msgspec.json.Decoder(_Meta).decode
_encode: Final = msgspec.json.Encoder().encode


def items(channel: str, page: Page) -> list[bytes]:
    """Encode the messages of a page."""
    cursor = cursors(channel, page.epoch)
    return [
        _beside(message, cursor(message.offset))
        if message.meta or not message.data
        else _PLAIN % (cursor(message.offset), message.offset, message.time_ms, message.data)
        for message in page.messages
    ]


def _beside(message: Message, cursor: bytes) -> bytes:
    meta = _decode_meta(message.meta or b"{}")
    if meta.binary or not message.data:
        data = b'"data":null,"b64data":"%b"' % base64.b64encode(message.data)
    else:
        data = b'"data":%b' % message.data
    return _BESIDE % (cursor, message.offset, message.time_ms, data, bytes(meta.tags), bytes(meta.info))


def answer(channel: str, scroll: Scroll, *, newest_first: bool) -> bytes:
    """Encode a page, with the cursors that go on from its bounds."""
    cursor = cursors(channel, scroll.epoch)
    ordered: Sequence[bytes] = scroll.items[::-1] if newest_first else scroll.items
    return _ANSWER % (
        b",".join(ordered),
        cursor(scroll.after + 1),
        cursor(scroll.through),
        _BOOLEANS[scroll.has_before],
        _BOOLEANS[scroll.has_after],
        scroll.head,
        scroll.floor + 1,
        _encode(scroll.epoch),
    )
