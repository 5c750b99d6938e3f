"""Namespaces that are kept as a stream too: what is published to a channel is copied to one of P partitions.

The copy is stored in the transaction of the publication. Its partition goes by a hash of the channel, so the
messages of a channel keep their order. It has a retention of its own.
"""

from msgspec import Struct

from gapless.core.assignment import partition_of
from gapless.core.limits import PAGE_BYTES_MAX, PAGE_MESSAGES_MAX
from gapless.core.stream import Entry, Message, Position, Retention
from gapless.ports import Streams
from gapless.protocol.meta import CHANNEL_TAG, with_tag

__all__ = ["STREAMS", "Feed", "find_copy", "find_message", "partitions"]

STREAMS = "stream"  # the namespace in which partitions are followed as channels


def partitions(name: str, count: int) -> tuple[str, ...]:
    """Return the channels of a stream's partitions, which are the store's streams too."""
    return tuple(f"{STREAMS}:{name}/{partition}" for partition in range(count))


class Feed(Struct, frozen=True):
    """A namespace as a stream: its partitions, and how much is kept of each."""

    source: str
    streams: tuple[str, ...]
    retention: Retention

    def stream(self, channel: str) -> str:
        """Return where a channel's messages are copied to."""
        return self.streams[partition_of(channel, len(self.streams))]

    def copy(self, channel: str, data: bytes, meta: bytes) -> Entry:
        """Return the copy of what is published to a channel."""
        return Entry(self.stream(channel), data, self.retention, meta=with_tag(meta, CHANNEL_TAG, channel))


async def find_message(streams: Streams, channel: str, offset: int) -> Message | None:
    """Return a message if it is kept."""
    before = Position(streams.epoch, offset + 1)
    page = await streams.read(channel, before=before, limit_messages=1, limit_bytes=1)
    return page.messages[0] if page.messages and page.messages[0].offset == offset else None


async def find_copy(streams: Streams, feed: Feed, channel: str, message: Message) -> int:
    """Return the offset of a message's copy in its feed, 0 if it is not kept.

    It was stored at the same instant. Of messages of one channel, one instant and the same content any is as
    good as the other.
    """
    copy = feed.copy(channel, message.data, message.meta)
    after: Position | None = await streams.find(copy.stream, message.time_ms)
    while True:
        page = await streams.read(
            copy.stream, after=after, limit_messages=PAGE_MESSAGES_MAX, limit_bytes=PAGE_BYTES_MAX
        )
        for each in page.messages:
            if each.time_ms > message.time_ms:
                return 0
            if (each.data, each.meta) == (copy.data, copy.meta):
                return each.offset
        if page.through >= page.head:
            return 0
        after = Position(page.epoch, page.through)
