"""The port Streams on Redis."""

from collections.abc import Sequence
from typing import Any, Final

from gapless.backends.redis.bus import RedisBus
from gapless.backends.redis.encoding import exact, message_of, position_of
from gapless.backends.redis.part import RedisPart
from gapless.backends.redis.writer import Writer
from gapless.core.limits import PAGE_BYTES_MAX, PAGE_MESSAGES_MAX
from gapless.core.lineage import Fate, Generation
from gapless.core.stream import Done, Entry, Head, Heads, Page, Position
from gapless.ports import Statistics, Streams

__all__ = ["RedisStreams"]

# What one call does at most: it holds up everybody else's.
HEADS_PER_CALL: Final = 500
COMPACTED_PER_CALL: Final = 200


class RedisStreams(RedisPart, Streams):
    """Streams, as functions inside Redis."""

    in_order = True  # see `Writer`

    bus: RedisBus

    def __init__(self) -> None:
        self._writer = Writer(self._calls, self._options)
        self._reads = 0
        super().__init__()

    def append(self, entries: Sequence[Entry], done: Done) -> None:
        self._writer.append(entries, done)

    async def read(
        self,
        stream: str,
        *,
        after: Position | None = None,
        before: Position | None = None,
        limit_messages: int,
        limit_bytes: int,
        keyed: str | None = None,
    ) -> Page:
        assert after is None or before is None
        self._reads += 1
        direction = ">" if after is not None else "<" if before is not None else ""
        epoch, offset = position_of(after or before or Position("", 0))
        messages, size = min(limit_messages, PAGE_MESSAGES_MAX), min(limit_bytes, PAGE_BYTES_MAX)
        key = ("0", "") if keyed is None else ("1", keyed)
        told = await self._calls.read("read", stream, direction, epoch, offset, messages, size, *key)
        return _page(told, backwards=before is not None)

    async def heads(self, streams: Sequence[str]) -> Heads:
        while True:
            told = [
                await self._calls.read("heads", *streams[at : at + HEADS_PER_CALL])
                for at in range(0, len(streams) or 1, HEADS_PER_CALL)
            ]
            epochs = {epoch.decode() for epoch, _ in told}
            if len(epochs) == 1:
                break
        numbers = [number for _, heads in told for number in heads]
        heads = map(Head, numbers[::2], numbers[1::2])
        return Heads(epochs.pop(), dict(zip(streams, heads, strict=True)))

    async def find(self, stream: str, at_ms: int) -> Position:
        epoch, offset = await self._calls.read("find", stream, at_ms)
        return Position(epoch.decode(), offset)

    async def trim(self, stream: str, through: int) -> Heads:
        await self._drain()
        epoch, floor, last = await self._calls.call("trim", stream, exact(through))
        return Heads(epoch.decode(), {stream: Head(floor, last)})

    async def erase(self, stream: str, offset: int) -> bool:
        await self._drain()
        [erased] = await self._calls.call("erase", stream, exact(offset))
        return bool(erased)

    async def last_keyed(self, stream: str, keyed: str) -> int:
        [offset] = await self._calls.read("last_keyed", stream, keyed)
        return int(offset)

    async def compact_keys(self, stream: str, through: int) -> int:
        await self._drain()
        removed: int = 0
        start: bytes = b""
        while True:
            done, start = await self._calls.call("compact", stream, exact(through), start, COMPACTED_PER_CALL)
            removed += done
            if not start:
                return removed

    async def generations(self) -> list[Generation]:
        [told] = await self._calls.read("generations")
        return [Generation(id.decode(), cut, Fate(fate.decode())) for id, cut, fate in told]

    def statistics(self) -> Statistics:
        return self._writer.statistics(self._reads)

    async def _drain(self) -> None:
        await self._writer.drain()

    async def _finish(self) -> None:
        await self._writer.close()


def _page(told: list[Any], *, backwards: bool) -> Page:
    epoch, floor, head, after, through, records = told
    messages = [message_of(record) for record in records]
    if backwards:
        messages.reverse()
    return Page(epoch.decode(), after, through, floor, head, messages)
