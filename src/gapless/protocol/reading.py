"""The verbs that read a partition, as `protocol.streams` has the others of streams."""

from enum import StrEnum
from hashlib import blake2b
from typing import Annotated

from msgspec import Meta

from gapless.core.limits import (
    PAGE_BYTES_MAX,
    PAGE_MESSAGES_MAX,
    PARTITIONS_MAX,
    REPLAY_FACTOR_MAX,
    REPLAY_PAUSE_MAX_MS,
)
from gapless.protocol.messages import StreamPosition
from gapless.protocol.payloads import Answer, Carried, Key, Offset, Request, TimeMs, Wait

__all__ = [
    "Bytes",
    "Edge",
    "FindAnswer",
    "FindRequest",
    "Messages",
    "Partition",
    "ReadAnswer",
    "ReadRequest",
    "ReplayRequest",
    "ReplayedMessage",
    "Source",
    "StreamMessage",
]

Source = Annotated[str, Meta(min_length=1)]
Partition = Annotated[int, Meta(ge=0, lt=PARTITIONS_MAX)]
Messages = Annotated[int, Meta(ge=1, le=PAGE_MESSAGES_MAX)]
Bytes = Annotated[int, Meta(ge=1, le=PAGE_BYTES_MAX)]


class Edge(StrEnum):
    """An end of a stream."""

    EARLIEST = "earliest"
    LATEST = "latest"


class StreamMessage(Carried):
    """A message, of which `channel` is where it was published, if the source is a namespace."""

    partition: int
    offset: Offset
    time_ms: TimeMs
    key: str = ""
    channel: str = ""


class ReadRequest(Request):
    """Read a partition from one place.

    That is `after` a position (error 112 if it does not hold any more), the message at `offset`, the first at
    or after `at_ms`, or an end (`start`; the earliest if nothing is named).

    With `backwards` messages come newest first, those before that place; from the latest unless another is
    named. With `key` only messages with it come; the stream must be `keyed`. If there are none, a read
    forwards waits for up to `wait_ms` for the first. An answer has at most `limit` messages and
    `limit_bytes`, but at least one message if there is any. Which `partition` need not be said where there
    is one, or where the key tells.
    """

    source: Source
    partition: Partition | None = None
    after: StreamPosition | None = None
    offset: Offset | None = None
    at_ms: TimeMs | None = None
    start: Edge | None = None
    backwards: bool = False
    key: Key | None = None
    limit: Messages = 100
    limit_bytes: Bytes = PAGE_BYTES_MAX
    wait_ms: Wait = 0


class ReadAnswer(Answer):
    """A page of (`after`, `through`]: all that is kept of it.

    The next one is read after (`epoch`, `through`). Backwards, the next one is read from `offset` `after` +
    1. What is at or below `floor` is gone; `last` is the end of the partition.
    """

    epoch: str
    after: Offset
    through: Offset
    floor: Offset
    last: Offset
    messages: list[StreamMessage]


class ReplayRequest(Request):
    """Give messages again at the speed at which they came, `factor` times as fast, or at once (0): an export.

    All partitions, unless one is named, by the times of their messages; from `offset` of a partition, from
    `at_ms`, or from the oldest that is kept, to what is the end now, or to the last before `until_ms`. No
    pause is longer than `pause_ms`. With `key` only messages with it; the stream must be `keyed`. Messages
    are objects, one a line. What goes wrong meanwhile, as when retention overtakes it, is told in a last
    line, as `error`.
    """

    source: Source
    partition: Partition | None = None
    offset: Offset | None = None
    at_ms: TimeMs | None = None
    until_ms: TimeMs | None = None
    key: Key | None = None
    factor: Annotated[float, Meta(ge=0, le=REPLAY_FACTOR_MAX)] = 1.0
    pause_ms: Annotated[int, Meta(ge=0, le=REPLAY_PAUSE_MAX_MS)] = REPLAY_PAUSE_MAX_MS


class ReplayedMessage(StreamMessage, omit_defaults=True):
    """A message that is given again, with what names it: its `source`, partition, `epoch` and offset."""

    source: str = ""
    epoch: str = ""

    def message_id(self) -> str:
        """Return an id for appending it elsewhere: a repeat of an import stores nothing twice."""
        place = f"{self.source}/{self.partition} {self.epoch}:{self.offset}"
        return "import-" + blake2b(place.encode(), digest_size=16).hexdigest()


class FindRequest(Request):
    """Ask for the position just before the first message stored at or after `at_ms`."""

    source: Source
    at_ms: TimeMs
    partition: Partition | None = None


class FindAnswer(Answer):
    """A position: what comes after it is what was asked for."""

    offset: Offset
    epoch: str
