"""Fences: what names one hold on a job or a partition, and none before or after it (semantics 4, 5)."""

from typing import Final

__all__ = ["Fences", "fence_number"]

# Fences given in one millisecond before their numbers outrun the clock, by which a rewound store goes on.
PER_MS: Final = 1_000


class Fences:
    """A store's only counter of fences.

    A fence is `epoch:n`, compared for equality. The epoch is of the generation that gives it, so that a store
    that was rewound gives none twice. The numbers alone only rise too: within a store by the counter, and
    over a rewind because a generation starts no lower than the microseconds since the Unix epoch.
    They stay below 2**53 until the year 2255.
    """

    def __init__(self, epoch: str, last: int, start_ms: int) -> None:
        """Go on after the number `last`, in a generation that begins at `start_ms`."""
        self._epoch = epoch
        self.last = max(last, start_ms * PER_MS - 1)

    def next(self) -> str:
        """Return a fence that was never given; `last` is its number then."""
        self.last += 1
        return f"{self._epoch}:{self.last}"


def fence_number(fence: str) -> int:
    """Return the number of a fence."""
    return int(fence.rpartition(":")[2])
