"""The newest stretch of a stream, kept encoded, so that a reconnect storm is a slice and a write."""

from collections.abc import Sequence
from itertools import accumulate, takewhile

__all__ = ["Tail"]


class Tail:
    """Encoded publications of the dense offsets (`floor`, `last`], at most `messages_max` of them.

    A hole (a message that its author erased) cannot stand in a tail: the tail then starts after it.
    """

    __slots__ = ("_items", "bytes", "floor", "messages_max")

    def __init__(self, floor: int, messages_max: int) -> None:
        assert messages_max > 0
        self.floor = floor
        self.bytes = 0
        self.messages_max = messages_max
        self._items: list[bytes] = []

    @property
    def last(self) -> int:
        """The newest offset held, or the floor when nothing is."""
        return self.floor + len(self._items)

    def extend(self, encoded: Sequence[bytes]) -> None:
        """Take in what follows `last`; the oldest go when there are well over `messages_max`."""
        self._items += encoded
        self.bytes += sum(map(len, encoded))
        if len(self._items) > self.messages_max + self.messages_max // 4:
            self.drop(len(self._items) - self.messages_max)

    def prepend(self, encoded: Sequence[bytes]) -> None:
        """Take in what ends just at `floor`, as much of its end as there is room for."""
        room = self.messages_max - len(self._items)
        fitting = list(encoded[max(0, len(encoded) - room) :]) if room > 0 else []
        self._items[:0] = fitting
        self.floor -= len(fitting)
        self.bytes += sum(map(len, fitting))

    def drop(self, count: int) -> None:
        """Let go of the oldest `count`."""
        self.bytes -= sum(map(len, self._items[:count]))
        del self._items[:count]
        self.floor += count

    def raise_floor(self, floor: int) -> None:
        """Let go of everything up to and including offset `floor`: the store no longer has it."""
        if floor > self.floor:
            self.drop(min(floor - self.floor, len(self._items)))
            self.floor = max(self.floor, floor)

    def restart(self, floor: int) -> None:
        """Forget everything; what comes next is offset `floor` + 1."""
        self._items = []
        self.bytes = 0
        self.floor = floor

    def page(self, after: int, bytes_max: int) -> list[bytes] | None:
        """Return what follows `after`, at most `bytes_max` but at least one; None if not all is here."""
        if not max(self.floor, self.last - self.messages_max) <= after <= self.last:
            return None
        start = after - self.floor
        if self.bytes <= bytes_max:
            return self._items[start:]
        sizes = accumulate(map(len, self._items[start:]))
        fitting = sum(1 for _ in takewhile(lambda size: size <= bytes_max, sizes))
        return self._items[start : start + max(1, fitting)]
