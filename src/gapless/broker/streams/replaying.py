"""Giving messages again, as fast as they came or otherwise: replay, and export where there is no pause.

It ends where the partitions ended when it began. Nothing is held but a page of each partition.
"""

import asyncio
from collections.abc import AsyncGenerator
from heapq import heapify, heappop, heapreplace

from gapless.broker.streams.places import before_offset, why_lost
from gapless.broker.streams.reading import fill
from gapless.broker.streams.sources import Source, Sources
from gapless.core.errors import BadRequest, PositionLost, TooManyRequests
from gapless.core.limits import PAGE_BYTES_MAX, PAGE_MESSAGES_MAX, REPLAYS_MAX
from gapless.core.stream import Message, Position
from gapless.ports import Clock, Streams
from gapless.protocol.reading import ReplayedMessage, ReplayRequest

__all__ = ["Replaying"]

# What is handed on at once where nothing is waited for.
_TOGETHER_MAX = 1_000


class Replaying:
    """Replays of a node's streams."""

    def __init__(self, store: Streams, clock: Clock, sources: Sources) -> None:
        self._store = store
        self._clock = clock
        self._sources = sources
        self._replays = 0

    async def replay(self, request: ReplayRequest) -> AsyncGenerator[list[ReplayedMessage], None]:
        """Yield messages when they are due; those of one list are due together.

        Raises:
            UnknownStream, UnknownChannel, NotAvailable, BadRequest: as for `read`.
            PositionLost: the offset is not kept, or retention has overtaken the replay.
            TooManyRequests: there are REPLAYS_MAX on this node.
        """
        if self._replays >= REPLAYS_MAX:
            raise TooManyRequests(f"there are {REPLAYS_MAX} replays already")
        self._replays += 1
        try:
            async for together in self._replay(request):
                yield together
        finally:
            self._replays -= 1

    async def _replay(self, request: ReplayRequest) -> AsyncGenerator[list[ReplayedMessage], None]:
        source = await self._sources.find(request.source)
        readers = await self._readers(request, source)
        heap = [(reader.time_ms, reader.partition, reader) for reader in readers if await reader.next()]
        heapify(heap)
        pace = _Pace(self._clock, request)
        together: list[ReplayedMessage] = []
        while heap:
            time_ms, partition, reader = heap[0]
            due_ms = pace.due_ms(time_ms)
            if together and (due_ms > self._clock.now_ms() or len(together) >= _TOGETHER_MAX):
                yield together
                together = []
            if due_ms > self._clock.now_ms():
                await self._pause(due_ms - self._clock.now_ms())
            together.append(reader.take(source.name))
            if await reader.next():
                heapreplace(heap, (reader.time_ms, partition, reader))
            else:
                heappop(heap)
        if together:
            yield together

    async def _readers(self, request: ReplayRequest, source: Source) -> list["_Reader"]:
        if request.offset is not None and request.at_ms is not None:
            raise BadRequest("name one place to begin at: offset or at_ms")
        if request.key is not None and not source.options.keyed:
            raise BadRequest(f"{source.name!r} is not keyed, so it cannot be read by key")
        only = request.partition
        if request.offset is not None or request.key is not None:
            only = source.partition(request.partition, request.key)
        chosen = source.chosen(only)
        heads = await self._store.heads([source.streams[partition] for partition in chosen])
        readers = []
        for partition in chosen:
            stream = source.streams[partition]
            floor, last = heads.heads[stream]
            after = Position(heads.epoch, floor)
            if request.offset is not None:
                after = await before_offset(self._store, stream, request.offset)
            elif request.at_ms is not None:
                after = await self._store.find(stream, request.at_ms)
            readers.append(_Reader(self._store, request, stream, partition, after, last, len(chosen)))
        return readers

    async def _pause(self, wait_ms: int) -> None:
        over = asyncio.Event()
        timer = self._clock.after(wait_ms, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()


class _Pace:
    """When messages are due: as far from the first as they were, by the factor, long pauses cut short."""

    def __init__(self, clock: Clock, request: ReplayRequest) -> None:
        self._factor = request.factor
        self._pause_ms = request.pause_ms
        self._due_ms = float(clock.now_ms())
        self._time_ms: int | None = None

    def due_ms(self, time_ms: int) -> int:
        """Return when the next message, which was stored at `time_ms`, is due; 0: at once."""
        if not self._factor:
            return 0
        if self._time_ms is not None:
            self._due_ms += min((time_ms - self._time_ms) / self._factor, self._pause_ms)
        self._time_ms = time_ms
        return int(self._due_ms)


class _Reader:
    """One partition, up to where it ended when the replay began."""

    def __init__(  # noqa: PLR0913, RUF100
        self,
        store: Streams,
        request: ReplayRequest,
        stream: str,
        partition: int,
        after: Position,
        last: int,
        readers: int,
    ) -> None:
        self._store = store
        self._request = request
        self._stream = stream
        self._after = after
        self._last = last
        self._limit = max(1, PAGE_MESSAGES_MAX // readers)
        self._limit_bytes = max(1, PAGE_BYTES_MAX // readers)
        self._messages: list[Message] = []  # the next one last
        self.partition = partition

    @property
    def time_ms(self) -> int:
        """The time of the next message."""
        return self._messages[-1].time_ms

    def take(self, source: str) -> ReplayedMessage:
        """Return the next message."""
        message = self._messages.pop()
        told = ReplayedMessage(
            source=source,
            epoch=self._after.epoch,
            partition=self.partition,
            offset=message.offset,
            time_ms=message.time_ms,
        )
        return fill(told, message)

    async def next(self) -> bool:
        """Tell whether there is a next message, reading a page if need be."""
        while not self._messages:
            if self._after.offset >= self._last:
                return False
            await self._read()
        until_ms = self._request.until_ms
        return until_ms is None or self.time_ms < until_ms

    async def _read(self) -> None:
        try:
            page = await self._store.read(
                self._stream,
                after=self._after,
                limit_messages=self._limit,
                limit_bytes=self._limit_bytes,
                keyed=self._request.key,
            )
        except PositionLost:
            raise await why_lost(self._store, self._stream, self._after) from None
        self._after = Position(page.epoch, page.through)
        self._messages = [message for message in reversed(page.messages) if message.offset <= self._last]
