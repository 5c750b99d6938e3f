"""How much is kept of streams: what a new declaration drops at once, trimming, and compaction by key."""

import asyncio
import logging
from typing import Final

from gapless.broker.audit import record
from gapless.broker.broker import Broker
from gapless.broker.streams.sources import Source, Sources
from gapless.core.errors import BadRequest, GaplessError, NotAvailable
from gapless.core.limits import COMPACT_CHECK_MS, COMPACT_REST, OFFSET_MAX
from gapless.core.stream import Entry
from gapless.ports import Clock, Store, Timer
from gapless.protocol.streams import CompactAnswer, CompactRequest, PartitionStatus, TrimAnswer, TrimRequest

__all__ = ["Keeping", "record_now"]

log: Final = logging.getLogger("gapless.streams")


class Keeping:
    """Drops what is not to be kept. Streams that compact are looked at in the background, one at a time."""

    def __init__(self, store: Store, clock: Clock, broker: Broker, sources: Sources) -> None:
        self._store = store
        self._clock = clock
        self._broker = broker
        self._sources = sources
        self._compacted: dict[str, int] = {}  # how far, by the store's stream
        self._timer: Timer | None = None
        self._compacting: asyncio.Task[None] | None = None
        self._stopped = False

    # Trim ---------------------------------------------------------------------------------

    async def trim(self, request: TrimRequest, who: str = "") -> TrimAnswer:
        """See `TrimRequest`."""
        if (request.offset is None) is (request.before_ms is None):
            raise BadRequest("name what to trim: through an offset, or what is before before_ms")
        source = await self._sources.find(request.stream)
        if not source.declared:
            raise NotAvailable("a channel keeps what its namespace says; history_remove drops all of it")
        only = source.partition(request.partition) if request.offset is not None else request.partition
        answer = TrimAnswer(partitions=[])
        for partition in source.chosen(only):
            through = await self._through(source.streams[partition], request)
            answer.partitions.append(await self._trim(source, partition, through))
        floors = {str(each.partition): each.oldest for each in answer.partitions}
        await record_now(self._broker, record("trim", who, source.name, oldest=floors))
        return answer

    async def _through(self, stream: str, request: TrimRequest) -> int:
        if request.offset is not None:
            return request.offset
        assert request.before_ms is not None
        return (await self._store.find(stream, request.before_ms)).offset

    async def _trim(self, source: Source, partition: int, through: int) -> PartitionStatus:
        stream = source.streams[partition]
        heads = await self._broker.removing.trim(stream, through)
        floor, last = heads.heads[stream]
        return PartitionStatus(partition=partition, epoch=heads.epoch, oldest=floor + 1, last=last)

    async def drop(self, source: Source) -> None:
        """Drop all that is kept of a stream."""
        for partition in source.chosen(None):
            await self._trim(source, partition, OFFSET_MAX)

    async def hold_to(self, source: Source) -> None:
        """Drop at once what is beyond the count and age to be kept; bytes count from the next message on."""
        keep = source.options.retention
        heads = await self._store.heads(source.streams)
        for partition, stream in enumerate(source.streams):
            floor, last = heads.heads[stream]
            through = last - keep.count if keep.count else 0
            if keep.age_ms:
                oldest_ms = self._clock.now_ms() - keep.age_ms
                through = max(through, (await self._store.find(stream, max(0, oldest_ms))).offset)
            if through > floor:
                await self._trim(source, partition, through)

    # Compact ------------------------------------------------------------------------------

    async def compact(self, request: CompactRequest, who: str = "") -> CompactAnswer:
        """See `CompactRequest`."""
        source = await self._sources.get(request.stream)
        if not source.options.keyed:
            raise BadRequest(f"{source.name!r} is not keyed, so it cannot be compacted")
        erased = 0
        for partition in source.chosen(request.partition):
            erased += await self._compact(source.streams[partition])
        await record_now(self._broker, record("compact", who, source.name, erased=erased))
        return CompactAnswer(erased=erased)

    async def _compact(self, stream: str) -> int:
        """Compact all that there is now; what followers were told of it stays with them."""
        last = (await self._store.heads([stream])).heads[stream].last
        erased = await self._store.compact_keys(stream, last)
        self._compacted[stream] = last
        if erased:
            self._broker.removing.erased(stream)
        return erased

    def start(self) -> None:
        """Begin to look after streams that compact."""
        self._timer = self._clock.after(COMPACT_CHECK_MS, self._turn)

    async def stop(self) -> None:
        """Give up what is being compacted: what is done of it stays done."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._compacting is not None:
            self._compacting.cancel()
            await asyncio.gather(self._compacting, return_exceptions=True)

    def _turn(self) -> None:
        self._compacting = asyncio.get_running_loop().create_task(self._compact_due())

    async def _compact_due(self) -> None:
        """Compact what has changed, then rest for at least so many times as long as it took."""
        began_ms = self._clock.now_ms()
        try:
            compacts = [one for one in (await self._sources.declared()).values() if one.options.compact]
            streams = {stream for source in compacts for stream in source.streams}
            self._compacted = {name: last for name, last in self._compacted.items() if name in streams}
            for source in compacts:
                await self._compact_changed(source)
        except GaplessError as error:
            log.warning("streams could not be compacted: %s", error)
        rest_ms = max(COMPACT_CHECK_MS, COMPACT_REST * (self._clock.now_ms() - began_ms))
        if not self._stopped:
            self._timer = self._clock.after(rest_ms, self._turn)

    async def _compact_changed(self, source: Source) -> None:
        heads = await self._store.heads(source.streams)
        for stream in source.streams:
            if heads.heads[stream].last > self._compacted.get(stream, heads.heads[stream].floor):
                await self._compact(stream)


async def record_now(broker: Broker, audit: Entry) -> None:
    """Store a record of what was done, by itself: that holds, whatever becomes of the record."""
    try:
        for outcome in await broker.appended([audit], own=True):
            if isinstance(outcome, GaplessError):
                raise outcome
    except GaplessError as error:
        log.warning("%s is not in the audit stream: %s", audit.data.decode(), error)
