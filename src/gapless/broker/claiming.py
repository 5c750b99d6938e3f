"""Claims that wait: who comes first is served first, and nobody is woken without need.

A ring of the store (`hear_ready`) wakes one of those who wait for a queue; whoever gets jobs wakes the next,
so that a burst is claimed as fast as claims are answered, and one who gets none stops that. A timer wakes for
what falls due meanwhile. Rings and timers are hints: the store alone decides, and is asked within a second.
"""

import asyncio
from bisect import insort
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final

from gapless.core.errors import GaplessError, TooManyRequests
from gapless.core.jobs import Claimed, Deed, Settlement
from gapless.core.limits import WAITERS_MAX, WAITING_CHECK_MS
from gapless.ports import Clock, Queues, Timer
from gapless.protocol.queues import ClaimRequest

__all__ = ["Claiming"]

GONE: Final = "whoever claimed it was gone before it heard of it"


class _Waiter:
    """A claim that waits its turn; `woken` says whether to ask the store, or that its time is over."""

    __slots__ = ("over", "ticket", "woken", "worker")

    def __init__(self, ticket: int, worker: str) -> None:
        self.ticket = ticket
        self.worker = worker
        self.over = False
        self.woken: asyncio.Future[None] | None = None

    def __lt__(self, other: "_Waiter") -> bool:
        return self.ticket < other.ticket

    def wake(self) -> bool:
        """Wake it; tell whether it was waiting."""
        if self.woken is None or self.woken.done():
            return False
        self.woken.set_result(None)
        return True

    def give_up(self) -> None:
        """Let it wait no longer."""
        self.over = True
        self.wake()


class _Line:
    """Those who claim from one queue now."""

    __slots__ = ("backoff_ms", "claimers", "rings", "timer", "timer_ms", "tried", "waiting")

    def __init__(self) -> None:
        self.claimers = 0
        self.rings = 0
        self.waiting: list[_Waiter] = []  # by their tickets
        self.tried: set[str] = set()  # workers that got nothing since there was something new
        self.timer: Timer | None = None
        self.timer_ms = 0
        self.backoff_ms = 1

    def news(self) -> None:
        """Wake who waits longest: there may be something now."""
        self.tried.clear()
        self.wake()

    def wake(self) -> None:
        """Wake who waits longest of the workers that have not tried yet."""
        next((waiter for waiter in self.waiting if waiter.worker not in self.tried and waiter.wake()), None)

    def drop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Claiming:
    """Claims from a store's queues. `by_worker` tells whether a queue bounds what one worker holds."""

    def __init__(self, store: Queues, clock: Clock, by_worker: Callable[[str], Awaitable[bool]]) -> None:
        self._store = store
        self._clock = clock
        self._by_worker = by_worker
        self._lines: dict[str, _Line] = {}
        self._tickets = count()
        self._waiters = 0
        self._stopped = False
        self._releasing: set[asyncio.Task[None]] = set()
        store.hear_ready(self._ready)

    def waiting(self, queue: str) -> int:
        """Tell how many claims wait for jobs of a queue."""
        line = self._lines.get(queue)
        return len(line.waiting) if line is not None else 0

    def stop_waiting(self) -> None:
        """Let nobody wait any more: all are answered that there is nothing."""
        self._stopped = True
        for line in self._lines.values():
            for waiter in list(line.waiting):
                waiter.give_up()

    async def finish(self) -> None:
        """Wait until what was claimed for those who are gone is given back."""
        await asyncio.gather(*self._releasing)

    async def claim(self, request: ClaimRequest) -> list[Claimed]:
        """Lease jobs, now or as soon as there are any within the time; who is cancelled leaves none behind.

        Raises:
            UnknownQueue: there is no such queue.
            TooManyRequests: WAITERS_MAX wait on this node.
        """
        if not request.wait_ms:
            return await self._ask(request)
        if self._waiters >= WAITERS_MAX:
            raise TooManyRequests(f"{WAITERS_MAX} calls wait already")
        self._waiters += 1
        line = self._lines.setdefault(request.queue, _Line())
        line.claimers += 1
        waiter = _Waiter(next(self._tickets), request.worker)
        ends = self._clock.after(request.wait_ms, waiter.give_up)
        try:
            return await self._wait(line, waiter, request)
        finally:
            ends.cancel()
            self._waiters -= 1
            line.claimers -= 1
            if not line.claimers:
                line.drop_timer()
                del self._lines[request.queue]

    async def _wait(self, line: _Line, waiter: _Waiter, request: ClaimRequest) -> list[Claimed]:
        while True:
            rings = line.rings
            try:
                jobs = await self._ask(request)
            except BaseException:
                line.news()
                raise
            if jobs:
                line.backoff_ms = 1
                line.news()
                return jobs
            if rings != line.rings and not waiter.over:
                continue  # something came while the store was asked
            if not waiter.over and not self._stopped:
                await self._turn(line, waiter, request)
            if waiter.over or self._stopped:
                line.wake()  # it may have been woken for what another can have, or in place of the timer
                return []

    async def _turn(self, line: _Line, waiter: _Waiter, request: ClaimRequest) -> None:
        """Wait to be woken. A wake that comes too late goes to the next."""
        waiter.woken = asyncio.get_running_loop().create_future()
        insort(line.waiting, waiter)
        try:
            await self._set_timer(line, request.queue)
            if await self._by_worker(request.queue):  # this one may have all that it may have
                line.tried.add(request.worker)
                line.wake()
            await waiter.woken
        except BaseException:
            if waiter.woken.done() and not waiter.over:
                line.news()
            raise
        finally:
            line.waiting.remove(waiter)

    async def _set_timer(self, line: _Line, queue: str) -> None:
        """Have somebody woken when the next job falls due: no earlier than now, and within a second."""
        due_ms = await self._store.next_due_ms(queue)
        now_ms = self._clock.now_ms()
        delay_ms = self._clock.glance_ms(WAITING_CHECK_MS)
        if due_ms is not None and due_ms - now_ms < delay_ms:
            # The store's clock may be behind this one: then asking more often does not help.
            delay_ms = max(due_ms - now_ms, line.backoff_ms)
            line.backoff_ms = min(2 * line.backoff_ms, WAITING_CHECK_MS)
        at_ms = now_ms + delay_ms
        if line.timer is None or at_ms < line.timer_ms:
            line.drop_timer()
            line.timer, line.timer_ms = self._clock.after(delay_ms, lambda: self._due(line)), at_ms

    def _due(self, line: _Line) -> None:
        line.timer = None
        line.news()

    def _ready(self, queue: str) -> None:
        line = self._lines.get(queue)
        if line is not None:
            line.rings += 1
            line.backoff_ms = 1
            line.news()

    # Whoever goes away --------------------------------------------------------------------

    async def _ask(self, request: ClaimRequest) -> list[Claimed]:
        claiming = asyncio.ensure_future(
            self._store.claim(
                request.queue,
                worker=request.worker,
                limit=request.limit,
                lease_ms=request.lease_ms,
                request=request.request,
            )
        )
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            releasing = asyncio.get_running_loop().create_task(self._release(claiming))
            self._releasing.add(releasing)
            releasing.add_done_callback(self._releasing.discard)
            raise

    async def _release(self, claiming: "asyncio.Future[list[Claimed]]") -> None:
        """Give back what was claimed for somebody who is gone; if that fails, the leases run out."""
        try:
            jobs = await claiming
            if jobs:
                await self._store.settle(
                    [Settlement(job.id, job.fence, Deed.RELEASE, delay_ms=0, reason=GONE) for job in jobs]
                )
        except GaplessError:
            return
