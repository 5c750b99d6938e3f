"""Results that somebody waits for: told at once if the job was settled here, else found within a second.

However many wait, the store is asked once a second where all their jobs are.
"""

import asyncio
from typing import Final

from gapless.broker.rounds import Rounds
from gapless.core.errors import GaplessError, TooManyRequests
from gapless.core.jobs import State, View
from gapless.core.limits import BROWSE_JOBS_MAX, WAITERS_MAX, WAITING_CHECK_MS
from gapless.ports import Clock, Queues

__all__ = ["Results"]

RUNNING: Final = (State.WAITING, State.LEASED)


class _Waiter:
    """Who waits for a job; `over`: no longer."""

    __slots__ = ("over", "woken")

    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self.over = False

    def end(self) -> None:
        self.over = True
        self.woken.set()


class Results:
    """Who waits for which job."""

    def __init__(self, store: Queues, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: dict[str, set[_Waiter]] = {}
        self._waiters = 0
        self._rounds = Rounds(clock, WAITING_CHECK_MS, self._check, lambda: bool(self._waiting))
        self._stopped = False

    def stop(self) -> None:
        """Let nobody wait any more."""
        self._stopped = True
        self._rounds.stop()
        for waiters in self._waiting.values():
            for waiter in waiters:
                waiter.end()

    async def finish(self) -> None:
        """Wait until nothing is asked of the store any more."""
        await self._rounds.finish()

    def ended(self, id: str) -> None:
        """Hear that a job may be done, dead or gone."""
        for waiter in self._waiting.get(id, ()):
            waiter.woken.set()

    async def wait(self, id: str, wait_ms: int) -> View:
        """Return a job once it is done or dead, or as it stands when the time is over.

        Raises:
            UnknownJob: there is none (any more): its result is not kept, or it was cancelled.
            TooManyRequests: WAITERS_MAX wait for results on this node.
        """
        if not wait_ms or self._stopped:
            return await self._store.look(id)
        if self._waiters >= WAITERS_MAX:
            raise TooManyRequests(f"{WAITERS_MAX} calls wait for results already")
        self._waiters += 1
        waiter = _Waiter()
        self._waiting.setdefault(id, set()).add(waiter)
        ends = self._clock.after(wait_ms, waiter.end)
        self._rounds.begin()
        try:
            return await self._wait(id, waiter)
        finally:
            ends.cancel()
            self._waiters -= 1
            self._waiting[id].discard(waiter)
            if not self._waiting[id]:
                del self._waiting[id]

    async def _wait(self, id: str, waiter: _Waiter) -> View:
        while True:
            waiter.woken.clear()
            is_last = waiter.over
            view = await self._store.look(id)
            if is_last or view.state not in RUNNING:
                return view
            await waiter.woken.wait()

    # What was not settled here, or ends by itself -----------------------------------------

    async def _check(self) -> None:
        """Wake those whose jobs have ended."""
        ids = list(self._waiting)
        for start in range(0, len(ids), BROWSE_JOBS_MAX):
            await self._check_some(ids[start : start + BROWSE_JOBS_MAX])

    async def _check_some(self, ids: list[str]) -> None:
        try:
            states = await self._store.states(ids)
        except GaplessError:  # each hears of it when it looks itself
            states = [State.GONE] * len(ids)
        for id, state in zip(ids, states, strict=True):
            if state not in RUNNING:
                self.ended(id)
