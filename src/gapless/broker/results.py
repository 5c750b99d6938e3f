"""Results that somebody waits for: told at once if the job was settled here, else found within a second."""

import asyncio

from gapless.core.errors import TooManyRequests
from gapless.core.jobs import State, View
from gapless.core.limits import WAITERS_MAX, WAITING_CHECK_MS
from gapless.ports import Clock, Queues

__all__ = ["Results"]


class Results:
    """Who waits for which job."""

    def __init__(self, store: Queues, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._waiters = 0
        self._stopped = False

    def stop(self) -> None:
        """Let nobody wait any more."""
        self._stopped = True
        for id in list(self._waiting):
            self.ended(id)

    def ended(self, id: str) -> None:
        """Hear that a job may be done or dead."""
        for event in self._waiting.get(id, ()):
            event.set()

    async def wait(self, id: str, wait_ms: int) -> View:
        """Return a job once it is done or dead, or as it stands when the time is over.

        Raises:
            UnknownJob: there is none (any more): its result is not kept, or it was cancelled.
            TooManyRequests: WAITERS_MAX wait for results on this node.
        """
        if self._waiters >= WAITERS_MAX:
            raise TooManyRequests(f"{WAITERS_MAX} calls wait for results already")
        self._waiters += 1
        event = asyncio.Event()
        self._waiting.setdefault(id, set()).add(event)
        ends_ms = self._clock.now_ms() + wait_ms
        try:
            while True:
                view = await self._store.look(id)
                left_ms = ends_ms - self._clock.now_ms()
                if view.state in (State.DONE, State.DEAD) or left_ms <= 0 or self._stopped:
                    return view
                timer = self._clock.after(min(left_ms, WAITING_CHECK_MS), event.set)
                await event.wait()
                timer.cancel()
                event.clear()
        finally:
            self._waiters -= 1
            self._waiting[id].discard(event)
            if not self._waiting[id]:
                del self._waiting[id]
