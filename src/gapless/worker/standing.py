"""Whether this process stood still: stopped by a signal, asleep with its machine, or held up by its host."""

from typing import Final

from gapless.ports import Clock
from gapless.server.parting import pause

__all__ = ["TICK_MS", "Standing"]

TICK_MS: Final = 100


class Standing:
    """Looks again and again whether its loop turns, while `run` does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due_ms = clock.now_ms()
        self._stood_ms = 0

    async def run(self) -> None:
        """Look, until this is cancelled."""
        while True:
            tick_ms = self._clock.glance_ms(TICK_MS)
            self._due_ms = self._clock.now_ms() + tick_ms
            await pause(self._clock, tick_ms)
            self._stood_ms = self._overdue_ms()

    def stood_ms(self) -> int:
        """Return how long it stood still just now, less a tick at most: what comes in now may be so old."""
        return max(self._stood_ms, self._overdue_ms())

    def _overdue_ms(self) -> int:
        return self._clock.now_ms() - self._due_ms
