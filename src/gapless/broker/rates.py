"""How fast queues go: counters of a store, sampled at steps, and what they rose by."""

from collections import deque
from typing import Final

from gapless.core.jobs import Counted
from gapless.core.limits import RATES_MS, RATES_STEP_MS

__all__ = ["COUNTERS", "Rates"]

COUNTERS: Final = ("enqueued", "claimed", "acked", "failed", "died")


class Rates:
    """Samples of the last minute."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, dict[str, Counted]]] = deque(maxlen=RATES_MS // RATES_STEP_MS + 1)

    def sample(self, now_ms: int, counted: dict[str, Counted]) -> None:
        """Note the counters of all queues."""
        self._samples.append((now_ms, counted))

    def per_second(self, now_ms: int, queue: str, counted: Counted) -> dict[str, float]:
        """Return by how much each counter rose per second since the oldest sample."""
        at_ms, before = self._samples[0] if self._samples else (now_ms, {})
        elapsed_s = (now_ms - at_ms) / 1000
        if elapsed_s <= 0:
            return dict.fromkeys(COUNTERS, 0.0)
        held = before.get(queue, Counted())
        # A queue that was dropped and made anew begins at nothing.
        return {
            name: round(max(0, getattr(counted, name) - getattr(held, name)) / elapsed_s, 3)
            for name in COUNTERS
        }
