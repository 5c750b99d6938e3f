"""A clock that shows a virtual loop's time."""

from collections.abc import Callable
from typing import Final

from gapless.ports import Clock, Timer
from gapless.testing.loop import VirtualLoop

__all__ = ["SimulatedClock"]

START_MS: Final = 1_700_000_000_000


class SimulatedClock(Clock):
    """One machine's clock: `skew_ms` apart from the others, until the machine dies."""

    def __init__(self, loop: VirtualLoop, *, skew_ms: int = 0) -> None:
        self._loop = loop
        self._start_ms = START_MS + skew_ms
        self._stopped = False

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return self._start_ms + self._loop.now_ms

    def after(self, delay_ms: int, callback: Callable[[], object]) -> Timer:
        """Call `callback` once `delay_ms` have passed, unless the clock was stopped."""
        return self._loop.after_ms(max(0, delay_ms), self._ring, callback)

    def stop(self) -> None:
        """Call nothing back any more: the machine is dead."""
        self._stopped = True

    def _ring(self, callback: Callable[[], object]) -> None:
        if not self._stopped:
            callback()
