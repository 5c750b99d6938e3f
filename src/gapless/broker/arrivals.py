"""Calls that wait for the next message of a stream.

A ring is a hint, as everything that wakes somebody: who is woken reads the store. What nobody rings for,
since another process appended it, is found within a second: the store is asked where all the streams end.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from gapless.broker.rounds import Rounds
from gapless.core.errors import GaplessError, TooManyRequests
from gapless.core.limits import WAITERS_MAX, WAITING_CHECK_MS
from gapless.core.stream import Head, Heads
from gapless.ports import Bus, Clock

__all__ = ["Arrivals", "Bell"]


class Bell:
    """What one call hears: that something may have arrived since it looked, and that its time is over."""

    __slots__ = ("_rung", "over")

    def __init__(self) -> None:
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
        await self._rung.wait()


class Arrivals:
    """Who waits for which streams on this node."""

    def __init__(
        self, clock: Clock, heads: Callable[[Sequence[str]], Awaitable[Heads]], bus: Bus | None = None
    ) -> None:
        self._clock = clock
        self._bus = bus
        self._heads = heads
        self._seen: dict[str, tuple[str, Head]] = {}
        self._rounds = Rounds(
            clock, clock.glance_ms(WAITING_CHECK_MS), self._check, lambda: bool(self.waiting)
        )
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
        bell = Bell()
        if not wait_ms or self._stopped:
            bell.end()
            yield bell
            return
        if self._waiters >= WAITERS_MAX:
            raise TooManyRequests(f"{WAITERS_MAX} calls wait already")
        self._waiters += 1
        ends = self._clock.after(wait_ms, bell.end)
        for stream in streams:
            self._wait(stream, bell)
        self._rounds.begin()
        try:
            yield bell
        finally:
            self._waiters -= 1
            ends.cancel()
            for stream in streams:
                self._leave(stream, bell)

    def _wait(self, stream: str, bell: Bell) -> None:
        if stream not in self.waiting:
            self.waiting[stream] = set()
            if self._bus is not None:
                self._bus.follow(stream)
        self.waiting[stream].add(bell)

    def _leave(self, stream: str, bell: Bell) -> None:
        bells = self.waiting.get(stream, set())  # a call may name a stream twice
        bells.discard(bell)
        if stream in self.waiting and not bells:
            del self.waiting[stream]
            if self._bus is not None:
                self._bus.unfollow(stream)

    def stop(self) -> None:
        """Let nobody wait any more."""
        self._stopped = True
        self._rounds.stop()
        for bells in self.waiting.values():
            for bell in bells:
                bell.end()

    async def finish(self) -> None:
        """Wait until nothing is asked of the store any more."""
        await self._rounds.finish()

    async def _check(self) -> None:
        """Ring for streams that stand elsewhere than they did a round ago; when in doubt, too."""
        streams = list(self.waiting)
        try:
            epoch, found = await self._heads(streams)
        except GaplessError:  # each hears of it when it looks itself
            seen: dict[str, tuple[str, Head]] = {}
        else:
            seen = {stream: (epoch, found[stream]) for stream in streams}
        for stream in streams:
            if stream not in seen or seen[stream] != self._seen.get(stream):
                self.ring(stream)
        self._seen = seen
