"""Calls that wait for the next message of a stream.

A ring is a hint, as everything that wakes somebody: who is woken reads the store. Whoever is not rung for,
since another process appended, looks again within a second.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gapless.core.errors import TooManyRequests
from gapless.core.limits import WAITERS_MAX, WAITING_CHECK_MS
from gapless.ports import Clock

__all__ = ["Arrivals", "Bell"]


class Bell:
    """What one call hears: that something may have arrived since it looked, and that its time is over."""

    __slots__ = ("_clock", "_rung", "over")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung = asyncio.Event()
        self.over = False

    def ring(self) -> None:
        """Wake it."""
        self._rung.set()

    def end(self) -> None:
        """Let it wait no longer."""
        self.over = True
        self._rung.set()

    def look(self) -> None:
        """Note that it looks now: what rings from here on came later."""
        if not self.over:
            self._rung.clear()

    async def wait(self) -> None:
        """Wait until something may have arrived, or the time is over."""
        check = self._clock.after(self._clock.glance_ms(WAITING_CHECK_MS), self.ring)
        try:
            await self.rung()
        finally:
            check.cancel()

    async def rung(self) -> None:
        """Wait until it is rung, or the time is over."""
        await self._rung.wait()


class Arrivals:
    """Who waits for which streams on this node."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiters = 0
        self._stopped = False
        self.waiting: dict[str, set[Bell]] = {}

    def ring(self, stream: str) -> None:
        """Hear that a message arrived."""
        for bell in self.waiting.get(stream, ()):
            bell.ring()

    @contextmanager
    def hearing(self, streams: Sequence[str], wait_ms: int) -> Iterator[Bell]:
        """Hear of streams for up to `wait_ms`; not at all with 0.

        Raises:
            TooManyRequests: WAITERS_MAX wait on this node.
        """
        bell = Bell(self._clock)
        if not wait_ms or self._stopped:
            bell.end()
            yield bell
            return
        if self._waiters >= WAITERS_MAX:
            raise TooManyRequests(f"{WAITERS_MAX} calls wait already")
        self._waiters += 1
        ends = self._clock.after(wait_ms, bell.end)
        for stream in streams:
            self.waiting.setdefault(stream, set()).add(bell)
        try:
            yield bell
        finally:
            self._waiters -= 1
            ends.cancel()
            for stream in streams:
                bells = self.waiting[stream]
                bells.discard(bell)
                if not bells:
                    del self.waiting[stream]

    def stop(self) -> None:
        """Let nobody wait any more."""
        self._stopped = True
        for bells in self.waiting.values():
            for bell in bells:
                bell.end()
