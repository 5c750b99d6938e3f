"""Work that comes round for as long as somebody needs it, one turn at a time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from gapless.ports import Clock, Timer

__all__ = ["Rounds", "spread"]


def spread(every_ms: int, chance: Callable[[], float]) -> Callable[[], int]:
    """Return what draws an interval: about `every_ms`, a quarter less or more, so that nodes do not meet."""
    return lambda: int(every_ms * (0.75 + chance() / 2))


class Rounds:
    """Does `work` each `every_ms` while `is_needed`; `begin` says that it may be needed from now on."""

    def __init__(
        self,
        clock: Clock,
        every_ms: int,
        work: Callable[[], Coroutine[Any, Any, None]],
        is_needed: Callable[[], bool],
    ) -> None:
        self._clock = clock
        self._every_ms = every_ms
        self._work = work
        self._is_needed = is_needed
        self._timer: Timer | None = None
        self._working: asyncio.Task[None] | None = None
        self._stopped = False

    def begin(self) -> None:
        """See to it that a turn comes."""
        if self._timer is None and self._working is None and not self._stopped:
            self._timer = self._clock.after(self._every_ms, self._turn)

    def stop(self) -> None:
        """Let no further turn come."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    async def finish(self) -> None:
        """Wait for the turn that is under way, if one is."""
        if self._working is not None:
            await asyncio.wait((self._working,))

    def _turn(self) -> None:
        self._timer = None
        if self._is_needed():
            self._working = asyncio.get_running_loop().create_task(self._take_turn())

    async def _take_turn(self) -> None:
        try:
            await self._work()
        finally:
            self._working = None
            if self._is_needed():
                self.begin()
