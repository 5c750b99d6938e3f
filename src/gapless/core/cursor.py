"""Cursors: positions as people who scroll hold them, opaque and safe in a URL.

A cursor is 18 bytes and an epoch, in base64url without padding: the version (1 byte), the offset (8), what
stands for the channel (4), a checksum (5), then the epoch. It is no secret and grants nothing: who makes one
up has named a position, which the store holds against its lineage like any other. So the checksum needs no
key; it tells a cursor that was cut, mistyped or guessed. The epoch is random, and no other store knows it.

A cursor never begins with a digit: a time can stand where a cursor can.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import Final

from gapless.core.errors import BadRequest
from gapless.core.limits import CURSOR_BYTES_MAX, OFFSET_MAX
from gapless.core.stream import Position

__all__ = ["cursor", "cursors", "position"]

_VERSION: Final = 1
_PLACE: Final = Struct(">BQ")
_CHANNEL_BYTES: Final = 4
_CHECK_BYTES: Final = 5
_FIXED_BYTES: Final = _PLACE.size + _CHANNEL_BYTES + _CHECK_BYTES
_TEXT: Final = re.compile(r"[A-Za-z0-9_-]+")

assert _FIXED_BYTES % 3 == 0, "base64 of the two parts is that of the whole"


@lru_cache(maxsize=1024)
def cursors(channel: str, epoch: str) -> Callable[[int], bytes]:
    """Return what makes the cursors of one channel and epoch, from their offsets."""
    return _maker(_digest(channel), epoch.encode())


def cursor(channel: str, at: Position) -> str:
    """Return the cursor of a position in a channel."""
    return cursors(channel, at.epoch)(at.offset).decode()


def position(channel: str, text: str) -> Position:
    """Return the position that a cursor of `channel` stands for; whether it still holds, the store knows.

    Raises:
        BadRequest: it is no cursor, or that of another channel.
    """
    if not _TEXT.fullmatch(text) or len(text) > CURSOR_BYTES_MAX or len(text) % 4 == 1:
        raise BadRequest("malformed cursor")
    raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if len(raw) < _FIXED_BYTES:
        raise BadRequest("malformed cursor")
    version, offset = _PLACE.unpack_from(raw)
    if version != _VERSION or offset > OFFSET_MAX:
        raise BadRequest("malformed cursor, or one of another version")
    of, epoch = raw[_PLACE.size : _PLACE.size + _CHANNEL_BYTES], raw[_FIXED_BYTES:]
    if not epoch.isascii() or _maker(of, epoch)(offset) != text.encode():
        raise BadRequest("malformed cursor")
    if of != _digest(channel):
        raise BadRequest("this cursor is of another channel")
    return Position(epoch.decode(), offset)


def _digest(channel: str) -> bytes:
    return blake2b(channel.encode(), digest_size=_CHANNEL_BYTES).digest()


def _maker(of: bytes, epoch: bytes) -> Callable[[int], bytes]:
    seed = blake2b(of + epoch, digest_size=_CHECK_BYTES)
    rest = urlsafe_b64encode(epoch).rstrip(b"=")

    def make(offset: int) -> bytes:
        place = _PLACE.pack(_VERSION, offset)
        check = seed.copy()
        check.update(place)
        return urlsafe_b64encode(place + of + check.digest()) + rest

    return make
