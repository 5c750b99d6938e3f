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

from msgspec import Struct

from gapless.core.stream import Head, Position

__all__ = ["Fate", "Generation", "Link", "holds"]


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
    if not head.floor <= position.offset <= head.last:
        return False
    if generations and position.epoch == generations[-1].id:
        return True
    order = {generation.id: index for index, generation in enumerate(generations)}
    mine = order.get(position.epoch)
    if mine is None:
        return False
    if any(generation.fate is Fate.LOSSY for generation in generations[mine + 1 :]):
        return False
    later = (link for link in lineage if order.get(link.gen, -1) > mine)
    return all(position.offset < link.first_offset for link in later)
