"""The newest items of a channel, kept encoded: who opens it finds there what the one before was told."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from gapless.core.limits import NEWEST_CHANNEL_BYTES_MAX, NEWEST_MESSAGES_MAX
from gapless.core.stream import Message, Page

__all__ = ["Newest", "Scroll"]

# What a channel and an item cost besides the item's own bytes.
_CHANNEL_BYTES: Final = 1_000
_ITEM_BYTES: Final = 100


class Scroll(NamedTuple):
    """A page for people who scroll: the items of (`after`, `through`], oldest first.

    The stream is kept from just above `floor` to `head`. Who reads on in either direction starts at these
    bounds, so that a short page, or one without items, is never taken for an end.
    """

    epoch: str
    after: int
    through: int
    floor: int
    head: int
    items: Sequence[bytes]

    @property
    def has_before(self) -> bool:
        """Tell whether something older may be kept; it may have been erased, all of it."""
        return self.after > self.floor

    @property
    def has_after(self) -> bool:
        """Tell whether something newer was stored."""
        return self.through < self.head


class Newest:
    """Items of the stretch (`after`, `through`] of one epoch, which reached the end when it was last read.

    Nothing says here whether that is still the end: a reader at `through` reads on, and what it finds is
    taken in. `bytes` is about what it all takes in memory.
    """

    __slots__ = ("_items", "_offsets", "after", "bytes", "epoch", "floor", "through")

    def __init__(self, page: Page, items: Sequence[bytes]) -> None:
        self.epoch = page.epoch
        self.after = page.after
        self.through = page.through
        self.floor = page.floor
        self.bytes = _CHANNEL_BYTES
        self._offsets: list[int] = []
        self._items: list[bytes] = []
        self._add(page.messages, items)

    def extend(self, page: Page, items: Sequence[bytes]) -> None:
        """Take in a page of the same epoch that leaves no hole behind `through`, and the floor it tells."""
        assert page.epoch == self.epoch
        assert page.after <= self.through
        self.floor = max(self.floor, page.floor)
        if page.through > self.through:
            known = sum(message.offset <= self.through for message in page.messages)
            self.through = page.through
            self._add(page.messages[known:], items[known:])
        if self.after < self.floor:
            self._drop(bisect_right(self._offsets, self.floor))
            self.after = self.floor

    def _add(self, messages: Sequence[Message], items: Sequence[bytes]) -> None:
        self._offsets += [message.offset for message in messages]
        self._items += items
        self.bytes += _weight(items)
        excess = max(0, len(self._items) - NEWEST_MESSAGES_MAX)
        over = self.bytes - _weight(self._items[:excess]) - NEWEST_CHANNEL_BYTES_MAX
        while over > 0 and excess < len(self._items):
            over -= _weight(self._items[excess : excess + 1])
            excess += 1
        if excess:
            self.after = self._offsets[excess - 1]
            self._drop(excess)

    def _drop(self, count: int) -> None:
        self.bytes -= _weight(self._items[:count])
        del self._items[:count]
        del self._offsets[:count]

    def serves(self, size: int) -> bool:
        """Tell whether the newest `size` items are here, or all that there are."""
        return len(self._items) >= size or self.after <= self.floor

    def last(self, size: int) -> Scroll:
        """Return the newest `size` items."""
        start = len(self._items) - size
        after = self._offsets[start - 1] if start > 0 else self.after
        items = self._items[max(0, start) :]
        return Scroll(self.epoch, after, self.through, self.floor, self.through, items)


def _weight(items: Sequence[bytes]) -> int:
    return sum(map(len, items)) + _ITEM_BYTES * len(items)
