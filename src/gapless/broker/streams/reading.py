"""Reading partitions: from a position, an offset, a time or an end, forwards and backwards, by key."""

from collections.abc import Sequence
from typing import Final, TypeVar

from gapless.broker.arrivals import Arrivals
from gapless.broker.streams.places import before_offset, why_lost
from gapless.broker.streams.sources import Sources
from gapless.core.errors import BadRequest, PositionLost, Unavailable
from gapless.core.limits import OFFSET_MAX
from gapless.core.stream import Message, Page, Position
from gapless.ports import Streams
from gapless.protocol.meta import CHANNEL_TAG, KEY_TAG
from gapless.protocol.reading import Edge, FindAnswer, FindRequest, ReadAnswer, ReadRequest, StreamMessage

__all__ = ["Reading", "answer_of", "fill", "message_of"]

Told = TypeVar("Told", bound=StreamMessage)

# A place that was found by its time, or its offset, may be trimmed before it is read from.
_FINDS_MAX: Final = 3


class Reading:
    """Pages of partitions, for whoever reads by himself."""

    def __init__(self, store: Streams, sources: Sources, arrivals: Arrivals) -> None:
        self._store = store
        self._sources = sources
        self._arrivals = arrivals

    async def read(self, request: ReadRequest, who: str = "") -> ReadAnswer:
        """See `ReadRequest`."""
        if [request.after, request.offset, request.at_ms, request.start].count(None) < 3:
            raise BadRequest("name one place to read from: after, offset, at_ms or start")
        source = await self._sources.find(request.source)
        if request.key is not None and not source.options.keyed:
            raise BadRequest(f"{source.name!r} is not keyed, so it cannot be read by key")
        partition = source.partition(request.partition, request.key)
        stream = source.streams[partition]
        if request.backwards:
            return answer_of(await self._backwards(stream, request), partition, backwards=True)
        with self._arrivals.hearing([stream], request.wait_ms) as bell:
            page = await self._first(stream, request)
            while not page.messages and not bell.over:
                bell.look()
                page = await self._after(stream, request, Position(page.epoch, page.through))
                if not page.messages and page.through >= page.head:
                    await bell.wait()
            return answer_of(page, partition)

    async def find(self, request: FindRequest, who: str = "") -> FindAnswer:
        """See `FindRequest`."""
        source = await self._sources.find(request.source)
        stream = source.streams[source.partition(request.partition)]
        epoch, offset = await self._store.find(stream, request.at_ms)
        return FindAnswer(offset=offset, epoch=epoch)

    async def _first(self, stream: str, request: ReadRequest) -> Page:
        """Read from the place that is asked for; only a position is a claim to have read anything."""
        if request.after is not None:
            return await self._after(stream, request, Position(request.after.epoch, request.after.offset))
        for _ in range(_FINDS_MAX):
            try:
                return await self._after(stream, request, await self._place(stream, request))
            except PositionLost:
                if request.offset is not None:
                    raise
        raise Unavailable("the partition is trimmed faster than it can be read; try again")

    async def _place(self, stream: str, request: ReadRequest) -> Position | None:
        """Return just before where to begin; None: with the oldest that is kept."""
        if request.offset is not None:
            return await before_offset(self._store, stream, request.offset)
        if request.at_ms is not None:
            return await self._store.find(stream, request.at_ms)
        if request.start is Edge.LATEST:
            heads = await self._store.heads([stream])
            return Position(heads.epoch, heads.heads[stream].last)
        return None

    async def _after(self, stream: str, request: ReadRequest, after: Position | None) -> Page:
        try:
            return await self._store.read(
                stream,
                after=after,
                limit_messages=request.limit,
                limit_bytes=request.limit_bytes,
                keyed=request.key,
            )
        except PositionLost:
            assert after is not None, "the oldest that is kept is there"
            raise await why_lost(self._store, stream, after) from None

    async def _backwards(self, stream: str, request: ReadRequest) -> Page:
        before = await self._before(stream, request)
        try:
            return await self._store.read(
                stream,
                before=before,
                limit_messages=request.limit,
                limit_bytes=request.limit_bytes,
                keyed=request.key,
            )
        except PositionLost:
            raise await why_lost(self._store, stream, before) from None

    async def _before(self, stream: str, request: ReadRequest) -> Position:
        """Return where what is read backwards ends, itself left out."""
        if request.after is not None:
            return Position(request.after.epoch, min(request.after.offset, OFFSET_MAX - 1) + 1)
        if request.offset is not None:
            return Position(self._store.epoch, request.offset)
        if request.at_ms is not None:
            epoch, offset = await self._store.find(stream, request.at_ms)
            return Position(epoch, offset + 1)
        return Position(self._store.epoch, 0 if request.start is Edge.EARLIEST else OFFSET_MAX)


def answer_of(page: Page, partition: int, *, backwards: bool = False) -> ReadAnswer:
    """Return a page as it is told."""
    kept: Sequence[Message] = page.messages[::-1] if backwards else page.messages
    return ReadAnswer(
        epoch=page.epoch,
        after=page.after,
        through=page.through,
        floor=page.floor,
        last=page.head,
        messages=[message_of(message, partition) for message in kept],
    )


def message_of(message: Message, partition: int) -> StreamMessage:
    """Return a message as it is told."""
    told = StreamMessage(partition=partition, offset=message.offset, time_ms=message.time_ms)
    return fill(told, message)


def fill(told: Told, message: Message) -> Told:
    """Fill in what a message carries: what is in tags of our own has fields."""
    told.carry(message.data, message.meta)
    if told.headers:
        told.key = told.headers.pop(KEY_TAG, "")
        told.channel = told.headers.pop(CHANNEL_TAG, "")
    return told
