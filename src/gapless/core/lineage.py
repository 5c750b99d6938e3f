"""Which positions still hold after restarts, restores and failovers (semantics 1).

Every incarnation of a store is a new generation. A stream remembers, for each
generation that appended to it, the first offset which that generation wrote: its
lineage. A position (g, n) is the truth unless something after g cut the stream below n.

What a forgotten stream went through is forgotten with it. So the generation that forgot it counts as
the one that wrote the floor it left: the first link of every stream that begins above that floor, and of
those that do not exist. A position at the floor holds from that generation on.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct

from gapless.core.errors import PositionLost
from gapless.core.stream import Head, Position

__all__ = ["Fate", "Generation", "Link", "holds", "lost", "reason", "why_lost"]

_NOT_HELD: Final = " does not hold: "  # as stores put it, in other languages too


class Fate(StrEnum):
    """What is known of how a generation began."""

    CLEAN = "clean"  # everything acknowledged before it is there
    SUSPECT = "suspect"  # not settled yet: subscribes wait
    LOSSY = "lossy"  # something acknowledged is gone: no older position holds


class Generation(Struct, frozen=True):
    """One incarnation of a store: it began when the store stood at `cut_seq`."""

    id: str
    cut_seq: int
    fate: Fate = Fate.CLEAN


class Link(Struct, frozen=True, array_like=True):
    """The first offset that generation `gen` wrote to a stream."""

    gen: str
    first_offset: int


def holds(position: Position, head: Head, generations: Sequence[Generation], lineage: Sequence[Link]) -> bool:
    """Tell whether everything up to `position` is what its reader has read, and all after it is kept.

    `generations` are ordered oldest first; `lineage` are the stream's links in the same order.
    """
    return not why_lost(position, head, generations, lineage)


def why_lost(
    position: Position, head: Head, generations: Sequence[Generation], lineage: Sequence[Link]
) -> str:
    """Return why a position does not hold, in words for whoever looks after it; nothing if it does."""
    epoch, offset = position
    if generations and epoch == generations[-1].id:
        return _outside(offset, head)
    order = {generation.id: index for index, generation in enumerate(generations)}
    mine = order.get(epoch)
    if mine is None:
        return "it is of a generation that the store does not know" if epoch else "it names no generation"
    if any(generation.fate is Fate.LOSSY for generation in generations[mine + 1 :]):
        return "what the store had acknowledged was lost after it"
    if head.floor <= offset <= head.last:
        later = (link for link in lineage if order.get(link.gen, -1) > mine)
        return "" if all(offset < link.first_offset for link in later) else _CUT
    return _outside(offset, head)


def lost(position: Position, why: str) -> PositionLost:
    """Return the error of a position that does not hold."""
    return PositionLost(f"position {position.epoch}:{position.offset}{_NOT_HELD}{why}")


def reason(error: PositionLost) -> str:
    """Return why a position does not hold, without which one that is, from the error of any store."""
    return str(error).partition(_NOT_HELD)[2] or str(error)


_CUT: Final = "a later generation wrote other messages there"


def _outside(offset: int, head: Head) -> str:
    if offset < head.floor:
        return f"it is older than what is kept, which follows offset {head.floor}"
    return f"it is ahead of the end, offset {head.last}" if offset > head.last else ""
