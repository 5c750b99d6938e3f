"""How entries are handed to the functions inside Redis, and how these tell where they stand.

An entry is a list: stream, data, meta, retention, and where it asks for more, a list of that. Of a retention
the encoded text is handed over, which a function compares whole and takes apart only where it is new.
"""

import struct
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import msgspec

from gapless.backends import Options
from gapless.backends.redis.errors import by_code
from gapless.core.errors import BadRequest
from gapless.core.stream import Entry, Message, Outcome, Position, Retention, Stored, check_version

__all__ = [
    "DIGEST_BYTES",
    "EXACT_MAX",
    "encode",
    "entry_of",
    "exact",
    "message_of",
    "position_of",
    "raw",
    "stored_of",
]

encode: Final = msgspec.msgpack.Encoder().encode
RETENTIONS_REMEMBERED: Final = 1_024
DIGEST_BYTES: Final = 16
# Numbers inside Redis are doubles; versions are compared as text of one length instead.
VERSION_DIGITS: Final = 19
UNKEEPABLE: Final = "!"
EXACT_MAX: Final = 2**53 - 1
# A message as it is rung and told: offset, time, and the sizes of meta and data, which follow.
MESSAGE: Final = struct.Struct(">QQII")


def raw(data: bytes) -> msgspec.Raw:
    """Return bytes as the MessagePack inside Redis has them: it knows no type of their own for them."""
    return msgspec.Raw(b"\xdb" + len(data).to_bytes(4, "big") + data)


def entry_of(entry: Entry, options: Options) -> list[Any]:
    """Return an entry as `streams.admit` takes it (lua/streams.lua); what is too large is left out of it."""
    told = [entry.stream, raw(entry.data), raw(entry.meta), _retention(entry.retention)]
    bytes_max = options.message_bytes_max
    wrong = ""
    if len(entry.data) > bytes_max or len(entry.meta) > bytes_max:
        wrong = f"the message is over {bytes_max} bytes"
        told[1] = told[2] = ""
    if (
        wrong
        or entry.key is not None
        or entry.expected is not None
        or entry.version
        or entry.transient
        or entry.keyed is not None
        or entry.also is not None
    ):
        told.append(_conditions(entry, options, wrong))
    return told


def _conditions(entry: Entry, options: Options, wrong: str) -> list[Any]:
    """Return what an entry asks for besides being stored; false where it does not."""
    return [
        entry.key is not None and _key(entry, entry.key, options),
        entry.version != 0 and [_version(entry), entry.version_epoch],
        entry.expected is not None and position_of(entry.expected),
        entry.keyed if entry.keyed is not None else False,
        entry.keyed is not None and entry.expected_keyed is not None and exact(entry.expected_keyed),
        wrong or False,
        entry.transient,
        entry.also is not None and entry_of(_bare(entry.also), options),
    ]


def _bare(also: Entry) -> Entry:
    """Return what is stored with an entry, without what counts for nothing there."""
    return Entry(
        also.stream,
        also.data,
        also.retention,
        also.meta,
        version=also.version,
        version_epoch=also.version_epoch,
        keyed=also.keyed,
    )


def _key(entry: Entry, key: str, options: Options) -> list[Any]:
    """Return the key's name, the payload's digest, and the limits of keys."""
    name = blake2b(f"{entry.stream}\0{key}".encode(), digest_size=DIGEST_BYTES).digest()
    payload = blake2b(entry.data, digest_size=DIGEST_BYTES).digest()
    return [raw(name), raw(payload), options.key_window_ms, options.keys_max]


def _version(entry: Entry) -> str:
    try:
        check_version(entry)
    except BadRequest:
        return UNKEEPABLE
    return f"{entry.version:0{VERSION_DIGITS}}"


@lru_cache(RETENTIONS_REMEMBERED)
def _retention(keep: Retention) -> msgspec.Raw:
    numbers = keep.count, keep.ttl_ms, keep.meta_ttl_ms, keep.age_ms, keep.bytes
    return raw(encode((*numbers, keep.group, keep.group_bytes)))


def exact(offset: int) -> int:
    """Return an offset that Redis can tell from its neighbours; one beyond these is as far away."""
    return max(-1, min(offset, EXACT_MAX))


def position_of(position: Position) -> tuple[str, int]:
    """Return a position as a function takes it."""
    return position.epoch, exact(position.offset)


def message_of(record: bytes) -> Message:
    """Return a message as a page tells it; its key may follow."""
    offset, time_ms, meta_bytes, data_bytes = MESSAGE.unpack_from(record)
    at = MESSAGE.size + meta_bytes
    return Message(offset, time_ms, record[at : at + data_bytes], record[MESSAGE.size : at])


def stored_of(told: list[Any]) -> Outcome:
    """Return what `streams.admit` answered."""
    if len(told) == 2:
        return by_code(told[0].decode(), told[1].decode())
    epoch, offset, time_ms, fresh, also = told
    beside = also and stored_of(also)
    return Stored(epoch.decode(), offset, time_ms, fresh == 1, beside if isinstance(beside, Stored) else None)
