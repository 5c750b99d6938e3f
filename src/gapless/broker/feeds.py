"""Namespaces that are kept as a stream too: what is published to a channel is copied to one of P partitions.

The copy is stored in the transaction of the publication. Its partition goes by a hash of the channel, so the
messages of a channel keep their order. It has a retention of its own.
"""

from msgspec import Struct

from gapless.core.assignment import partition_of
from gapless.core.stream import Entry, Message, Retention
from gapless.protocol.meta import CHANNEL_TAG, with_tag

__all__ = ["STREAMS", "Feed", "partitions"]

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

    def copies(self, channel: str, message: Message) -> tuple[bytes, bytes]:
        """Return what a message's copy has as data and meta."""
        return message.data, with_tag(message.meta, CHANNEL_TAG, channel)
