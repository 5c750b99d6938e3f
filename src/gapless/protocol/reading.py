"""The verbs that read a partition, as `protocol.streams` has the others of streams."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from gapless.core.limits import PAGE_BYTES_MAX, PAGE_MESSAGES_MAX, PARTITIONS_MAX
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


class FindRequest(Request):
    """Ask for the position just before the first message stored at or after `at_ms`."""

    source: Source
    at_ms: TimeMs
    partition: Partition | None = None


class FindAnswer(Answer):
    """A position: what comes after it is what was asked for."""

    offset: Offset
    epoch: str
