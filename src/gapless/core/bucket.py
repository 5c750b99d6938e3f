"""How much of a rate was used: a token bucket in whole numbers (GCRA, ITU-T I.371)."""

from typing import NamedTuple

__all__ = ["Bucket", "Rate"]


class Rate(NamedTuple):
    """So many units in `period_ms`; after a rest they may come at once."""

    units: int
    period_ms: int


class Bucket:
    """What one taker used of a rate."""

    __slots__ = ("_paid", "rate")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._paid = 0  # when all that was taken is paid for, in milliseconds times the rate's units

    def take(self, now_ms: int, units: int = 1) -> bool:
        """Take units if there are so many; tell whether."""
        rate, period_ms = self.rate
        now = now_ms * rate
        paid = max(self._paid, now) + units * period_ms
        if paid - now > rate * period_ms:
            return False
        self._paid = paid
        return True

    def charge(self, now_ms: int, units: int) -> int:
        """Take units in any case; return after how many milliseconds nothing is owed, 0: nothing is."""
        rate, period_ms = self.rate
        now = now_ms * rate
        self._paid = max(self._paid, now) + units * period_ms
        return max(0, -(-(self._paid - now - rate * period_ms) // rate))

    def empty(self, now_ms: int) -> bool:
        """Tell whether there is not one unit left."""
        rate, period_ms = self.rate
        return self._paid + period_ms - now_ms * rate > rate * period_ms

    def rested(self, now_ms: int) -> bool:
        """Tell whether nothing that was taken counts any more: a new bucket would be the same."""
        return self._paid <= now_ms * self.rate.units
