"""A subscription with the API key: a channel that keeps history is read as a stream, as it grows."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final

from gapless.broker.feeds import STREAMS
from gapless.client.following import Arrived, Event, Missed
from gapless.core.errors import PositionLost
from gapless.core.stream import Position
from gapless.library.making import wire_position
from gapless.protocol.reading import Edge, ReadAnswer, ReadRequest, StreamMessage

__all__ = ["poll"]

WAIT_MS: Final = 20_000
PAGE_MESSAGES: Final = 500


async def poll(
    call: Callable[[str, Any], Awaitable[ReadAnswer]], channel: str, since: Position | None
) -> AsyncGenerator[Event, None]:
    """Return what happens in a channel from `since` on, or from now on.

    Raises:
        NotAvailable: the channel keeps no history. UnknownChannel, UnknownStream: there is no such place.
    """
    position = since
    source, partition = _source(channel)
    while True:
        request = ReadRequest(source=source, partition=partition, limit=PAGE_MESSAGES, wait_ms=WAIT_MS)
        if position is None:
            request.start, request.wait_ms = Edge.LATEST, 0
        else:
            request.after = wire_position(position)
        try:
            page = await call("stream/read", request)
        except PositionLost:
            yield Missed(position, None)
            position = None
            continue
        for message in page.messages:
            yield _arrived(page.epoch, message)
        position = Position(page.epoch, page.through)


def _source(channel: str) -> tuple[str, int | None]:
    """Return under which name a channel is read as a stream: a partition is asked for beside its stream."""
    name, _, partition = channel.removeprefix(f"{STREAMS}:").rpartition("/")
    if channel.startswith(f"{STREAMS}:") and name and partition.isascii() and partition.isdigit():
        return name, int(partition)
    return channel, None


def _arrived(epoch: str, message: StreamMessage) -> Arrived:
    return Arrived(Position(epoch, message.offset), message.body(), message.headers)
