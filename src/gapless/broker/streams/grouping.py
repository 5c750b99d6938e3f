"""Groups looked at from outside: who is in them, how far behind they are; and going on elsewhere."""

from collections.abc import Sequence

from gapless.broker.audit import record
from gapless.broker.broker import Broker
from gapless.broker.streams.consuming import knocker
from gapless.broker.streams.places import before_offset, is_held, why_lost
from gapless.broker.streams.sources import Source, Sources
from gapless.core.errors import BadRequest, PositionLost, UnknownStream
from gapless.core.groups import GroupInfo
from gapless.core.stream import Head, Position
from gapless.ports import Clock, Store
from gapless.protocol.groups import (
    DropGroupAnswer,
    DropGroupRequest,
    GroupMember,
    GroupsAnswer,
    GroupsRequest,
    GroupStatus,
    LagAnswer,
    LagRequest,
    PartitionLag,
    SeekAnswer,
    SeekRequest,
    SoughtPartition,
)
from gapless.protocol.messages import StreamPosition
from gapless.protocol.reading import Edge

__all__ = ["Grouping"]


class Grouping:
    """What those ask who look after groups."""

    def __init__(self, store: Store, clock: Clock, sources: Sources, broker: Broker) -> None:
        self._broker = broker
        self._store = store
        self._clock = clock
        self._sources = sources

    async def groups(self, request: GroupsRequest, who: str = "") -> GroupsAnswer:
        """See `GroupsRequest`."""
        if request.source:
            await self._sources.find(request.source)
        return GroupsAnswer(groups=[_status(info) for info in await self._store.groups(request.source)])

    async def drop_group(self, request: DropGroupRequest, who: str = "") -> DropGroupAnswer:
        """See `DropGroupRequest`."""
        audit = record("drop_group", who, request.source, group=request.group)
        return DropGroupAnswer(found=await self._store.drop_group(request.source, request.group, audit=audit))

    async def _group(self, source: str, group: str) -> GroupInfo:
        for info in await self._store.groups(source):
            if info.name == group:
                return info
        raise UnknownStream(f"no group {group!r} reads {source!r}")

    # Seek ---------------------------------------------------------------------------------

    async def seek(self, request: SeekRequest, who: str = "") -> SeekAnswer:
        """See `SeekRequest`."""
        if [request.to, request.at_ms, request.offset, request.positions].count(None) != 3:
            raise BadRequest("name one place to go on at: to, at_ms, offset or positions")
        source = await self._sources.find(request.source)
        group = await self._group(request.source, request.group)
        positions = await self._sought(request, source, _partitions(request, source))
        heads = await self._store.heads(source.streams)
        lasts = [heads.heads[stream].last for stream in source.streams]
        answer = SeekAnswer(
            partitions=[
                _change(partition, group.positions.get(partition), position, lasts[partition])
                for partition, position in positions.items()
            ]
        )
        if not request.dry_run:
            told = {str(at): f"{position.epoch}:{position.offset}" for at, position in positions.items()}
            audit = record("seek", who, source.name, group=request.group, positions=told)
            await self._store.seek(source.name, request.group, positions, audit=audit)
            self._broker.knock(knocker(source.name, request.group))
        return answer

    async def _sought(
        self, request: SeekRequest, source: Source, partitions: Sequence[int]
    ) -> dict[int, Position]:
        heads = await self._store.heads([source.streams[partition] for partition in partitions])
        positions = {}
        for partition in partitions:
            stream = source.streams[partition]
            if request.positions is not None:
                named = request.positions[partition]
                positions[partition] = await self._held(stream, Position(named.epoch, named.offset))
            elif request.at_ms is not None:
                positions[partition] = await self._store.find(stream, request.at_ms)
            elif request.offset is not None:
                positions[partition] = await before_offset(self._store, stream, request.offset)
            else:
                floor, last = heads.heads[stream]
                positions[partition] = Position(heads.epoch, last if request.to is Edge.LATEST else floor)
        return positions

    async def _held(self, stream: str, position: Position) -> Position:
        if not await is_held(self._store, stream, position):
            raise await why_lost(self._store, stream, position)
        return position

    # Lag ----------------------------------------------------------------------------------

    async def lag(self, request: LagRequest, who: str = "") -> LagAnswer:
        """See `LagRequest`."""
        source = await self._sources.find(request.source)
        group = await self._group(request.source, request.group)
        heads = await self._store.heads(source.streams)
        members = {partition: member.name for member in group.members for partition in member.partitions}
        lags = []
        for partition, stream in enumerate(source.streams):
            position = group.positions.get(partition)
            lag = await self._lag(partition, stream, position, heads.heads[stream])
            lag.member = members.get(partition, "")
            lag.fence_number = group.fences.get(partition, 0)
            lags.append(lag)
        return LagAnswer(partitions=lags, lag=sum(lag.lag for lag in lags))

    async def _lag(self, partition: int, stream: str, position: Position | None, head: Head) -> PartitionLag:
        """Tell how far behind a group is; one that stands nowhere yet is behind all that is kept."""
        read = position.offset if position is not None else head.floor
        lag = PartitionLag(
            partition=partition,
            last=head.last,
            position=None if position is None else StreamPosition(position.offset, position.epoch),
            lag=max(0, head.last - read),
        )
        try:
            page = await self._store.read(stream, after=position, limit_messages=1, limit_bytes=1)
        except PositionLost:
            lag.lost = True
            return lag
        if page.messages:
            lag.lag_ms = max(0, self._clock.now_ms() - page.messages[0].time_ms)
        return lag


def _partitions(request: SeekRequest, source: Source) -> Sequence[int]:
    """Return the partitions that a seek is about.

    Raises:
        BadRequest: there is one that the source does not have, or they are named twice.
    """
    named = request.partitions
    if request.positions is not None:
        if named is not None:
            raise BadRequest("positions name their partitions")
        named = sorted(request.positions)
    if named is None:
        return range(len(source.streams))
    return [source.partition(partition) for partition in named]


def _change(partition: int, before: Position | None, after: Position, last: int) -> SoughtPartition:
    moved = after.offset - before.offset if before is not None else 0
    return SoughtPartition(
        partition=partition,
        position=StreamPosition(after.offset, after.epoch),
        before=None if before is None else StreamPosition(before.offset, before.epoch),
        skipped=max(0, moved),
        again=max(0, -moved),
        at_end=after.offset >= last,
    )


def _status(info: GroupInfo) -> GroupStatus:
    return GroupStatus(
        source=info.source,
        group=info.name,
        positions={at: StreamPosition(place.offset, place.epoch) for at, place in info.positions.items()},
        members=[
            GroupMember(
                member=member.name,
                session_until_ms=member.session_until_ms,
                partitions=list(member.partitions),
            )
            for member in info.members
        ],
    )
