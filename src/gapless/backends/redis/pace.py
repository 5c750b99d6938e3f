"""How the store's clock goes, held against this process' own."""

from collections.abc import Callable
from typing import Final

__all__ = ["Pace"]

# How far the store's clock may be ahead of what this process expects, before what grows old waits for it.
AHEAD_MS: Final = 60_000
# Clocks drift: the store's may go by so many parts of a million faster.
DRIFT_PPM: Final = 1_000


class Pace:
    """Expects the store's time to go on as this process' monotonic clock does.

    A Redis whose clock has jumped a day ahead must not empty every channel: each call tells how much
    of the store's time may count for what grows old (semantics 2).
    """

    def __init__(self, elapsed_ns: Callable[[], int]) -> None:
        self._elapsed_ns = elapsed_ns
        self._heard_ns = 0
        self._anchor_ms = 0
        self._anchor_ns = 0
        self.newest_ms = 0

    def hear(self, now_ms: int) -> None:
        """Hear the store's time, as it stood when an answer was given."""
        now_ns = self._elapsed_ns()
        if now_ms >= self.newest_ms:
            self.newest_ms, self._heard_ns = now_ms, now_ns
        if not self._anchor_ms or now_ms < self._expected_ms(now_ns):
            self._anchor_ms, self._anchor_ns = now_ms, now_ns

    def time_ms(self) -> int:
        """Return the store's time: that of the last answer, and what went by since."""
        return self.newest_ms + (self._elapsed_ns() - self._heard_ns) // 1_000_000

    def told(self) -> str:
        """Return a call's first argument: the server's time, of which so much at most counts as age."""
        return f"-{self._expected_ms(self._elapsed_ns()) + AHEAD_MS}" if self._anchor_ms else "0"

    def _expected_ms(self, now_ns: int) -> int:
        return self._anchor_ms + (now_ns - self._anchor_ns) * (1_000_000 + DRIFT_PPM) // 10**12
