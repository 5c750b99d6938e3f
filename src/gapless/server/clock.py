"""The node's own clock, on its event loop."""

import asyncio
from collections.abc import Callable

from gapless.backends import store_clock
from gapless.ports import Clock, Timer

__all__ = ["LoopClock"]


class LoopClock(Clock):
    """Wall time at the start, monotonic from then on; timers of the running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._now_ms = store_clock()

    def now_ms(self) -> int:
        """See `Clock.now_ms`."""
        return self._now_ms()

    def after(self, delay_ms: int, callback: Callable[[], object]) -> Timer:
        """See `Clock.after`."""
        return self._loop.call_later(delay_ms / 1000, callback)
