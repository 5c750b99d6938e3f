"""Places in a partition: where a position is that was asked for, and why one does not hold."""

from gapless.core.errors import PositionLost, PositionTrimmed, TimelineGone
from gapless.core.lineage import holds
from gapless.core.stream import Head, Position
from gapless.ports import Streams

__all__ = ["before_offset", "is_held", "why_lost"]


async def before_offset(streams: Streams, stream: str, offset: int) -> Position:
    """Return the position just before the message at an offset, which may be the next one to come.

    Raises:
        PositionTrimmed: it is gone.
        PositionLost: it lies beyond the end.
    """
    heads = await streams.heads([stream])
    position, head = Position(heads.epoch, offset - 1), heads.heads[stream]
    if not head.floor <= position.offset <= head.last:
        raise _outside(position, heads.epoch, head, offset)
    return position


async def why_lost(streams: Streams, stream: str, position: Position) -> PositionLost:
    """Return the error that says why a position does not hold, and where the partition stands."""
    heads = await streams.heads([stream])
    head = heads.heads[stream]
    known = holds(Position(position.epoch, 0), Head(0, 0), await streams.generations(), ())
    if known and (position.offset < head.floor or position.epoch == heads.epoch):
        return _outside(position, heads.epoch, head)
    return TimelineGone(
        f"{position.epoch}:{position.offset} is of a timeline that the store does not continue:"
        f" {_kept(head)}, of {heads.epoch}",
        epoch=heads.epoch,
        offset=head.last,
    )


def _outside(position: Position, epoch: str, head: Head, asked: int | None = None) -> PositionLost:
    """Return why a position does not hold; `asked` is the offset that was named, if it is another."""
    if position.offset < head.floor:
        gone = f"what follows offset {position.offset}" if asked is None else f"offset {asked}"
        return PositionTrimmed(f"{gone} is no longer kept: {_kept(head)}", epoch=epoch, offset=head.floor)
    beyond = position.offset if asked is None else asked
    return PositionLost(f"offset {beyond} is beyond the end: {_kept(head)}")


def _kept(head: Head) -> str:
    if head.last <= head.floor:
        return f"the partition is empty, and the next offset is {head.last + 1}"
    return f"the partition has offsets {head.floor + 1} to {head.last}"


async def is_held(streams: Streams, stream: str, position: Position) -> bool:
    """Tell whether a position holds, so that one can read on from it."""
    try:
        await streams.read(stream, after=position, limit_messages=1, limit_bytes=1)
    except PositionLost:
        return False
    return True
