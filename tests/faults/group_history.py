"""Held against each other: what stands in a stream, and what members of a group handled and committed.

As in `tests.faults.history`, each checker tells what should not be, and none needs a clock.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from tests.faults.records import Line

__all__ = ["CHECKERS", "Group", "findings"]

Place = tuple[int, int]
"""Where a line stands in the file, and the offset that it tells of."""


@dataclass
class Group:
    """The last offset of each partition, and the lines of all members."""

    ends: dict[str, int]
    lines: list[Line]

    def __post_init__(self) -> None:
        holds: dict[str, dict[str, dict[int, list[Place]]]] = {
            what: defaultdict(lambda: defaultdict(list))
            for what in ("start", "handled", "committed", "refused")
        }
        for place, line in enumerate(self.lines):
            holds[line.what][line.subject][line.fence].append((place, line.offset))
        self.starts, self.handled, self.committed, self.refused = holds.values()

    def handled_first(self, partition: str) -> dict[int, int]:
        """Return for each offset of a partition where it was handled for the first time."""
        first: dict[int, int] = {}
        for place, offset in sorted(chain.from_iterable(self.handled[partition].values())):
            first.setdefault(offset, place)
        return first


def findings(group: Group) -> list[str]:
    """Return what all checkers have found."""
    return [f"{checker.__name__}: {found}" for checker in CHECKERS for found in checker(group)]


def unhandled(group: Group) -> Iterator[str]:
    """Every message was handled."""
    for partition, end in group.ends.items():
        missing = set(range(1, end + 1)) - group.handled_first(partition).keys()
        if missing:
            yield f"{sorted(missing)} of partition {partition} were handled by nobody"


def skipped(group: Group) -> Iterator[str]:
    """Nobody began with a message before all those ahead of it were handled."""
    for partition, fences in group.starts.items():
        first = group.handled_first(partition)
        for place, offset in chain.from_iterable(fences.values()):
            if offset > 1 and first.get(offset - 1, place) >= place:
                yield f"{offset} of partition {partition} was begun before {offset - 1} was handled"


def disorder(group: Group) -> Iterator[str]:
    """One member handles a partition message by message, for as long as it holds it."""
    for partition, fences in group.handled.items():
        for fence, handled in fences.items():
            offsets = [offset for _, offset in handled]
            if offsets != list(range(offsets[0], offsets[0] + len(offsets))):
                yield f"partition {partition} was handled under {fence} in this order: {offsets}"


def backwards(group: Group) -> Iterator[str]:
    """Commits lead forward, and not beyond what was handled."""
    for partition, fences in group.committed.items():
        for fence, committed in fences.items():
            offsets = [offset for _, offset in committed]
            if offsets != sorted(offsets):
                yield f"partition {partition} was committed under {fence} in this order: {offsets}"
            if offsets[-1] > max((offset for _, offset in group.handled[partition][fence]), default=0):
                yield f"partition {partition} was committed under {fence} beyond what was handled"


def stale_accepted(group: Group) -> Iterator[str]:
    """Whoever got a partition began behind all that members before it have committed."""
    for partition, fences in group.starts.items():
        for fence, committed in group.committed[partition].items():
            end = max(offset for _, offset in committed)
            for later, starts in fences.items():
                first = min(offset for _, offset in starts)
                if later > fence and first <= end:
                    yield f"partition {partition} was begun at {first} under {later}, with {end} committed"


CHECKERS: list[Callable[[Group], Iterator[str]]] = [unhandled, skipped, disorder, backwards, stale_accepted]
