"""One timer for many sessions: deadlines in slots, so that an idle connection costs no timer of its own."""

from collections import defaultdict
from typing import Generic, TypeVar

__all__ = ["Wheel"]

Item = TypeVar("Item")


class Wheel(Generic[Item]):
    """Items by the slot their deadline falls in. An item that is woken early shrugs.

    Deadlines are rounded up to `slot_ms`, so nothing is woken before its time.
    """

    def __init__(self, slot_ms: int, now_ms: int) -> None:
        self._slot_ms = slot_ms
        self._slots: defaultdict[int, dict[Item, None]] = defaultdict(dict)
        self._turned = now_ms // slot_ms

    def schedule(self, item: Item, due_ms: int) -> None:
        """Have `item` returned by the first `turn` at or after `due_ms`."""
        slot = -(-due_ms // self._slot_ms)
        self._slots[max(slot, self._turned + 1)][item] = None

    def forget(self, item: Item, due_ms: int) -> None:
        """Let go of `item`, scheduled for `due_ms`; one that was overdue then may still be returned."""
        self._slots.get(-(-due_ms // self._slot_ms), {}).pop(item, None)

    def turn(self, now_ms: int) -> list[Item]:
        """Return the items that fell due since the last turn."""
        through = now_ms // self._slot_ms
        span = range(self._turned + 1, through + 1)
        slots = span if len(span) <= len(self._slots) else sorted(s for s in self._slots if s <= through)
        self._turned = max(self._turned, through)
        return [item for slot in slots for item in self._slots.pop(slot, ())]
