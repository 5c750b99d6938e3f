"""Clocks for tests: one that shows a virtual loop's time, and one that is moved by hand."""

from collections.abc import Callable
from contextvars import Context, copy_context
from heapq import heappop, heappush
from typing import Final

from gapless.ports import Clock, Timer
from gapless.testing.loop import VirtualLoop

__all__ = ["SimulatedClock", "VirtualClock"]

START_MS: Final = 1_700_000_000_000
GLANCE_MS: Final = 24 * 3_600_000


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


class _Alarm:
    __slots__ = ("at_ms", "callback", "context", "number")

    def __init__(self, at_ms: int, number: int, callback: Callable[[], object], context: Context) -> None:
        self.at_ms = at_ms
        self.number = number
        self.callback: Callable[[], object] | None = callback
        self.context = context

    def __lt__(self, other: "_Alarm") -> bool:
        return (self.at_ms, self.number) < (other.at_ms, other.number)

    def cancel(self) -> None:
        self.callback = None


class VirtualClock(Clock):
    """A clock on any loop that stands still until it is moved: to the next timer, and no further."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self._now_ms = now_ms
        self._alarms: list[_Alarm] = []
        self._set = 0

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return self._now_ms

    def after(self, delay_ms: int, callback: Callable[[], object]) -> Timer:
        """Call `callback`, in the context of this call, once the clock was moved on by `delay_ms`."""
        self._set += 1
        alarm = _Alarm(self._now_ms + max(0, delay_ms), self._set, callback, copy_context())
        heappush(self._alarms, alarm)
        return alarm

    def glance_ms(self, often_ms: int) -> int:
        """See `Clock.glance_ms`: nothing is missed in one process, so that days may pass in no time."""
        return max(often_ms, GLANCE_MS)

    def move(self, until_ms: int) -> bool:
        """Move on to the next timer, and let it ring; or without one to `until_ms`. Tell whether one rang."""
        while self._alarms and self._alarms[0].callback is None:
            heappop(self._alarms)
        if not self._alarms or self._alarms[0].at_ms > until_ms:
            self._now_ms = max(self._now_ms, until_ms)
            return False
        alarm = heappop(self._alarms)
        self._now_ms = max(self._now_ms, alarm.at_ms)
        assert alarm.callback is not None
        alarm.context.run(alarm.callback)
        return True
