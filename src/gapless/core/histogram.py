"""Counts of values by size, as plain numbers: what Prometheus calls a histogram."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

__all__ = ["Histogram"]


class Histogram:
    """How many values were at most as large as each of `bounds`, and their sum; a last bucket is infinite."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum: float = 0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Yield each bound with how many values are at most that large, the infinite one last."""
        total = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            yield bound, total

    def since(self, earlier: "Histogram") -> "Histogram":
        """Return what was observed after an earlier state of this histogram."""
        later = Histogram(self.bounds)
        later.counts = [now - then for now, then in zip(self.counts, earlier.counts, strict=True)]
        later.sum = self.sum - earlier.sum
        return later

    def quantile(self, share: float) -> float:
        """Return the bound below which this share of the values is; of no values 0, of huge ones the last."""
        wanted = share * sum(self.counts)
        reached = (bound for bound, count in self.cumulative() if count >= wanted)
        return min(next(reached), self.bounds[-1]) if wanted else 0
