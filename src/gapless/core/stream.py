"""The words of a stream: position, message, page, and what a publisher hands in."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from gapless.core.errors import BadRequest, GaplessError
from gapless.core.limits import VERSION_EPOCH_BYTES_MAX, VERSION_MAX

__all__ = [
    "Done",
    "Entry",
    "Head",
    "Heads",
    "Message",
    "Outcome",
    "Page",
    "Position",
    "Retention",
    "Stored",
    "check_version",
    "is_stale",
]


class Position(NamedTuple):
    """How far a reader has read: everything up to `offset` on the timeline of generation `epoch`.

    Whether a position still holds is decided by `gapless.core.lineage`.
    """

    epoch: str
    offset: int


class Message(Struct, gc=False):
    """One stored message.

    `data` is the payload as published; `meta` is a JSON object with what travels
    beside it (`info`, `tags`, `binary`), empty when there is nothing, and opaque to
    every store. `time_ms` is the store's and never falls within a stream.
    """

    offset: int
    time_ms: int
    data: bytes
    meta: bytes = b""


class Retention(Struct, frozen=True, gc=False):
    """How much of a stream is kept; 0 means no such limit. Units: messages, milliseconds, bytes.

    `ttl_ms` is Centrifugo's `history_ttl`: the whole stream goes when nothing was
    published for that long. `meta_ttl_ms` is how long its head is remembered after the last
    publication. `age_ms` is ours: the age of a single message. `group_bytes` bounds what all streams
    of the same `group` hold together; beyond it appends are refused, nothing is dropped for it.
    """

    count: int = 0
    ttl_ms: int = 0
    meta_ttl_ms: int = 0
    age_ms: int = 0
    bytes: int = 0
    group: str = ""
    group_bytes: int = 0


class Entry(Struct, tag="entry"):
    """What a publisher asks a store to append.

    With `key` (idempotency) a repeat of the same payload is answered with the first
    position and another payload with `KeyConflict`. `version` numbers the state that the payload is
    (0: it has none): see `is_stale`. `expected` is the position
    at which the stream must end. A `transient` entry is never stored: it only passes through in
    order (`skip_history`). `keyed` is the key of a message in a stream with an index by keys, in which
    `expected_keyed` is the offset of the last message that has it (0: there is none). `also` is stored in the
    same transaction if and only if this entry is stored anew: it goes to another stream, what it expects and
    its idempotency key count for nothing, and where a limit refuses it, this entry is refused. `origin` names
    who appends (a connection), so that a failure stops what that origin had already queued behind it.
    `context` is the caller's own.
    """

    stream: str
    data: bytes
    retention: Retention
    meta: bytes = b""
    key: str | None = None
    expected: Position | None = None
    version: int = 0
    version_epoch: str = ""
    transient: bool = False
    keyed: str | None = None
    expected_keyed: int | None = None
    also: "Entry | None" = None
    origin: Any = None
    context: Any = None


class Stored(Struct, frozen=True, gc=False, tag="stored"):
    """An append that holds: where, and when by the store's clock.

    `fresh` is False when an idempotency key answered, or the version was stale: nothing new is in the
    stream. A stale one is told where the stream ends. A transient entry has offset 0. `also` is where that
    of the entry was stored with it.
    """

    epoch: str
    offset: int
    time_ms: int
    fresh: bool = True
    also: "Stored | None" = None


def is_stale(entry: Entry, version: int, version_epoch: str) -> bool:
    """Tell whether a stream that holds this version has no use for the entry (Centrifugo's rule).

    Versions are compared within a `version_epoch`; an entry that names none goes by the one that is held.
    """
    return entry.version <= version and entry.version_epoch in ("", version_epoch)


def check_version(entry: Entry) -> None:
    """Make sure that the entry's version can be kept.

    Raises:
        BadRequest: it is below 1 or beyond VERSION_MAX, or its epoch has over VERSION_EPOCH_BYTES_MAX bytes.
    """
    if not 0 < entry.version <= VERSION_MAX:
        raise BadRequest(f"a version is 1 to {VERSION_MAX}")
    if len(entry.version_epoch.encode()) > VERSION_EPOCH_BYTES_MAX:
        raise BadRequest(f"a version epoch has up to {VERSION_EPOCH_BYTES_MAX} bytes")


Outcome = Stored | GaplessError
"""What became of an entry."""

Done = Callable[[Sequence[Entry], Sequence[Outcome]], None]
"""Told once, on the loop, what became of entries that were appended together: an outcome for each."""


class Head(NamedTuple):
    """Where a stream stands: everything at or below `floor` is gone, `last` is its newest offset."""

    floor: int
    last: int


class Heads(NamedTuple):
    """Where several streams stand, read at one instant of one generation."""

    epoch: str
    heads: dict[str, Head]


class Page(Struct, gc=False):
    """A stretch of a stream: all that is kept of (`after`, `through`], in order.

    Offsets missing inside a page were removed by their author and are no gap: contiguity is
    `page.after == mine`, then `mine = page.through`. Only `floor` makes a gap.
    """

    epoch: str
    after: int
    through: int
    floor: int
    head: int
    messages: list[Message]
