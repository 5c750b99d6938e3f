"""Fetching for members of groups: pages of what they hold, by turns; and what a lost place leads to."""

from gapless.broker.arrivals import Arrivals
from gapless.broker.audit import record
from gapless.broker.streams.places import is_held, why_lost
from gapless.broker.streams.reading import answer_of
from gapless.broker.streams.sources import Source, Sources
from gapless.core.errors import BadRequest, GaplessError, LeaseLost, PositionLost, PositionTrimmed
from gapless.core.stream import Page, Position
from gapless.ports import Store
from gapless.protocol.groups import FetchAnswer, FetchedPartition, FetchPartition, FetchRequest, OnLost
from gapless.protocol.messages import StreamPosition
from gapless.protocol.payloads import failure_of

__all__ = ["Fetching"]


class Fetching:
    """Reads what members hold."""

    def __init__(self, store: Store, sources: Sources, arrivals: Arrivals) -> None:
        self._store = store
        self._sources = sources
        self._arrivals = arrivals
        self._turn = 0

    async def fetch(self, request: FetchRequest, who: str = "") -> FetchAnswer:
        """See `FetchRequest`."""
        source = await self._sources.find(request.source)
        streams = [source.streams[source.partition(each.partition)] for each in request.partitions]
        if len(set(streams)) < len(streams):
            raise BadRequest("each partition is named once")
        with self._arrivals.hearing(streams, request.wait_ms) as bell:
            while True:
                bell.look()
                found = await self._fetch(request, source)
                if found or bell.over:
                    return FetchAnswer(partitions=found)
                await bell.wait()

    async def _fetch(self, request: FetchRequest, source: Source) -> list[FetchedPartition]:
        """Read each partition that goes on, by turns, and as much of it as its share of the answer is."""
        heads = await self._store.heads([source.streams[each.partition] for each in request.partitions])
        waiting = [
            each
            for each in request.partitions
            if each.after != StreamPosition(heads.heads[source.streams[each.partition]].last, heads.epoch)
        ]
        self._turn += 1
        turn = self._turn % max(1, len(waiting))
        left, left_bytes, found = request.limit, request.limit_bytes, []
        for index, each in enumerate(waiting[turn:] + waiting[:turn]):
            share = len(waiting) - index
            if left <= 0 or left_bytes <= 0:
                break
            fetched = await self._page(request, source, each, -(-left // share), -(-left_bytes // share))
            if isinstance(fetched, GaplessError):
                found.append(FetchedPartition(partition=each.partition, error=failure_of(fetched)))
            elif fetched.messages or fetched.through > fetched.after:
                left -= len(fetched.messages)
                left_bytes -= sum([len(one.data) + len(one.meta) for one in fetched.messages])
                found.append(
                    FetchedPartition(partition=each.partition, page=answer_of(fetched, each.partition))
                )
        return found

    async def _page(
        self, request: FetchRequest, source: Source, fetched: FetchPartition, limit: int, limit_bytes: int
    ) -> Page | GaplessError:
        stream = source.streams[fetched.partition]
        after = Position(fetched.after.epoch, fetched.after.offset)
        try:
            return await self._store.read(stream, after=after, limit_messages=limit, limit_bytes=limit_bytes)
        except PositionLost:
            return await self._lost(request, source, fetched.partition)
        except GaplessError as error:
            return error

    async def _lost(self, request: FetchRequest, source: Source, partition: int) -> GaplessError:
        """Decide what becomes of a member whose position is lost: by where its group stands, not it."""
        groups = await self._store.groups(source.name)
        group = next((each for each in groups if each.name == request.group), None)
        members = group.members if group is not None else ()
        holds = any(each.name == request.member and partition in each.partitions for each in members)
        position = group.positions.get(partition) if group is not None else None
        stream = source.streams[partition]
        if not holds or position is None or await is_held(self._store, stream, position):
            return LeaseLost(f"the group stands elsewhere in partition {partition}, or it is another's")
        lost = await why_lost(self._store, stream, position)
        cut = None if isinstance(lost, PositionTrimmed) else await self._cut(stream, position)
        if cut is not None:
            return await self._go_on(request, source, partition, position, cut, "resume")
        if request.on_lost is OnLost.HALT:
            return lost
        heads = await self._store.heads([stream])
        oldest = Position(heads.epoch, heads.heads[stream].floor)
        return await self._go_on(request, source, partition, position, oldest, "skip")

    async def _cut(self, stream: str, position: Position) -> Position | None:
        """Return the last place of a position's timeline that the store still continues, if there is one."""
        floor, last = (await self._store.heads([stream])).heads[stream]
        low, high = floor, min(position.offset, last)
        if low > high or not await is_held(self._store, stream, position._replace(offset=low)):
            return None
        while low < high:  # `low` holds, what is beyond `high` does not
            middle = (low + high + 1) // 2
            if await is_held(self._store, stream, position._replace(offset=middle)):
                low = middle
            else:
                high = middle - 1
        return position._replace(offset=low)

    async def _go_on(
        self,
        request: FetchRequest,
        source: Source,
        partition: int,
        stood: Position,
        position: Position,
        what: str,
    ) -> GaplessError:
        told = {"stood": f"{stood.epoch}:{stood.offset}", "goes_on": f"{position.epoch}:{position.offset}"}
        audit = record(what, request.member, source.name, group=request.group, partition=partition, **told)
        await self._store.seek(source.name, request.group, {partition: position}, audit=audit)
        return LeaseLost(f"the group goes on after offset {position.offset} of partition {partition}")
