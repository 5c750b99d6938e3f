"""Claims that wait: who comes first is served first, and nobody is woken without need.

A ring of the store (`hear_ready`) wakes one of those who wait for a queue; whoever gets jobs wakes the next,
so that a burst is claimed as fast as claims are answered, and one who gets none stops that. A timer wakes for
what falls due meanwhile. Rings and timers are hints: the store alone decides, and is asked within a second.
"""

import asyncio
import logging
from bisect import insort
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from itertools import count
from typing import Any, Final

from gapless.core.errors import GaplessError, TooManyRequests
from gapless.core.jobs import Claimed, Deed, Lease, Settlement
from gapless.core.limits import WAITERS_MAX, WAITING_CHECK_MS
from gapless.ports import Clock, Queues, Timer
from gapless.protocol.queues import ClaimRequest

__all__ = ["Claiming"]

log: Final = logging.getLogger("gapless.queues")

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


class _Asking:
    """A claim that the store is asked for, and how many wait for its answer."""

    __slots__ = ("callers", "claiming", "is_heard")

    def __init__(self, claim: Coroutine[Any, Any, list[Claimed]]) -> None:
        self.claiming = asyncio.ensure_future(claim)
        self.callers = 0
        self.is_heard = False

    def has_nothing(self) -> bool:
        """Tell whether it was answered that there is nothing, or failed."""
        if not self.claiming.done():
            return False
        return self.claiming.exception() is not None or not self.claiming.result()


class Claiming:
    """Claims from a store's queues. `by_worker` tells whether a queue bounds what one worker holds."""

    def __init__(self, store: Queues, clock: Clock, by_worker: Callable[[str], Awaitable[bool]]) -> None:
        self._store = store
        self._clock = clock
        self._by_worker = by_worker
        self._lines: dict[str, _Line] = {}
        self._named: dict[tuple[str, str, str], _Waiter] = {}  # by queue, worker and request
        self._tickets = count()
        self._waiters = 0
        self._stopped = False
        self._asking: dict[object, _Asking] = {}  # by what it has in common with a repeat
        self._releasing: dict[object, asyncio.Task[None]] = {}
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
        await asyncio.gather(*self._releasing.values())

    async def claim(
        self, request: ClaimRequest, is_there: Callable[[], bool] = lambda: True
    ) -> list[Claimed]:
        """Lease jobs, now or as soon as there are any within the time; who is cancelled leaves none behind.

        Nor does who is not there any more when they are. A repeat ends the wait of the claim that it repeats,
        whose caller may be gone without a word.

        Raises:
            UnknownQueue: there is no such queue.
            TooManyRequests: WAITERS_MAX wait on this node.
        """
        name = request.queue, request.worker, request.request
        if request.request and name in self._named:
            self._named.pop(name).give_up()
        if not request.wait_ms:
            return await self._ask(request, is_there)
        if self._waiters >= WAITERS_MAX:
            raise TooManyRequests(f"{WAITERS_MAX} calls wait already")
        self._waiters += 1
        line = self._lines.setdefault(request.queue, _Line())
        line.claimers += 1
        waiter = _Waiter(next(self._tickets), request.worker)
        ends = self._clock.after(request.wait_ms, waiter.give_up)
        if request.request:
            self._named[name] = waiter
        try:
            return await self._wait(line, waiter, request, is_there)
        finally:
            if self._named.get(name) is waiter:
                del self._named[name]
            ends.cancel()
            self._waiters -= 1
            line.claimers -= 1
            if not line.claimers:
                line.drop_timer()
                del self._lines[request.queue]

    async def _wait(
        self, line: _Line, waiter: _Waiter, request: ClaimRequest, is_there: Callable[[], bool]
    ) -> list[Claimed]:
        while True:
            rings = line.rings
            try:
                jobs = await self._ask(request, is_there)
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

    async def _ask(self, request: ClaimRequest, is_there: Callable[[], bool]) -> list[Claimed]:
        """Ask the store, once for all who ask the same; what none of them heard of is given back.

        Who repeats a request while its jobs are given back waits for that, lest it is told of those.
        """
        same = (request.queue, request.worker, request.request) if request.request else object()
        while same in self._releasing:
            await asyncio.wait((self._releasing[same],))
        asking = self._asking.get(same)
        if asking is None or asking.has_nothing():
            asking = self._asking[same] = _Asking(self._claim(request))
        asking.callers += 1
        try:
            jobs = await asyncio.shield(asking.claiming)
            asking.is_heard = is_there() or asking.is_heard
            return jobs
        finally:
            asking.callers -= 1
            if not asking.callers:
                self._end(same, asking)

    async def _claim(self, request: ClaimRequest) -> list[Claimed]:
        return await self._store.claim(
            request.queue,
            worker=request.worker,
            limit=request.limit,
            lease_ms=request.lease_ms,
            request=request.request,
        )

    def _end(self, same: object, asking: _Asking) -> None:
        if self._asking.get(same) is asking:
            del self._asking[same]
        if not asking.is_heard and not asking.has_nothing():
            self._begin(same, self._release_all(asking.claiming))

    def _begin(self, same: object, work: Coroutine[Any, Any, None]) -> None:
        self._releasing[same] = releasing = asyncio.get_running_loop().create_task(work)
        releasing.add_done_callback(lambda _: self._releasing.pop(same))

    async def _release_all(self, claiming: "asyncio.Task[list[Claimed]]") -> None:
        """Give back what is being claimed; what an earlier call was told of is not only this one's."""
        try:
            leases = [Lease(job.id, job.fence) for job in await claiming if not job.again]
        except GaplessError:
            return
        if leases:
            await self._release(leases)

    async def _release(self, leases: Sequence[Lease]) -> None:
        """Give jobs back; if that fails, their leases run out."""
        try:
            await self._store.settle(
                [Settlement(one.id, one.fence, Deed.RELEASE, delay_ms=0, reason=GONE) for one in leases]
            )
        except GaplessError as error:
            log.warning("jobs whose claimer is gone are leased until their leases run out: %s", error)
