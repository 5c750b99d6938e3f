"""Telling when nothing is left to do on a loop until time passes."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from gapless.testing.loop import Deadlock

__all__ = ["Quiet"]

TURNS_MAX: Final = 1_000_000
BLIND_TURNS: Final = 100  # of a loop that does not show what is ready: so many in which nothing stirred
GLANCE_S: Final = 0.001


class Quiet:
    """Watches the running loop. `stirred` counts what happens, by which turns without anything are told.

    asyncio's own loops show what is ready; of others (uvloop) it is inferred.
    """

    def __init__(self, stirred: Callable[[], int]) -> None:
        self._loop: Any = asyncio.get_running_loop()
        self._stirred = stirred
        self._shows = all(hasattr(self._loop, name) for name in ("_ready", "_scheduled", "_selector"))

    async def wait(self) -> None:
        """Return when nothing is ready to run any more.

        Raises:
            Deadlock: it does not come to rest.
        """
        still, seen = 0, self._stirred()
        for _ in range(TURNS_MAX):
            await asyncio.sleep(0)
            if self._shows and not self._loop._ready:
                return
            still = still + 1 if self._stirred() == seen else 0
            seen = self._stirred()
            if not self._shows and still >= BLIND_TURNS:
                return
        raise Deadlock(
            f"after {TURNS_MAX} turns of the loop there is still something to do, and no time has passed"
        )

    def hears_world(self) -> bool:
        """Tell whether something may come from outside: a socket's data, or a timer of the real clock."""
        if not self._shows:
            return True
        sockets = len(self._loop._selector.get_map()) - 1  # one is the loop's own
        return sockets > 0 or any(not timer.cancelled() for timer in self._loop._scheduled)

    async def world(self, patience_ms: int) -> bool:
        """Wait for something to stir, in real time; tell whether it did."""
        seen = self._stirred()
        end_s = self._loop.time() + patience_ms / 1000
        while self._stirred() == seen:
            if self._loop.time() >= end_s:
                return False
            await asyncio.sleep(GLANCE_S)
        return True
