"""An asyncio loop on virtual time: a minute passes in milliseconds, and the same seed takes the same way.

What is reordered, and what is not. asyncio promises that callbacks given to `call_soon` (and with them
tasks that wake) run first in, first out, and gapless relies on it: that order stays. What real life leaves
open is when things arrive from outside: timers that fall due in one millisecond, answers of a
store, bytes of different connections. All of these are timers here, so all that is due at an instant
is shuffled, and sometimes dealt out over several turns, so that callbacks of the first run before the second.
What must keep its order within itself, the bytes of one link, keeps it in a queue of its own.
"""

import asyncio
from asyncio.events import _set_running_loop
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context
from heapq import heappop, heappush
from random import Random
from typing import Any, TypeVar, TypeVarTuple

__all__ = ["Deadlock", "VirtualLoop"]

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class Deadlock(RuntimeError):
    """Nothing can ever happen again, or no time passes any more, and what was awaited has not come."""


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop without a world: no files, no threads. Time moves when nothing is left to do at an instant.

    `now_ms` counts from 0. `failures` collects what callbacks and tasks raised unasked.
    """

    def __init__(self, random: Random, *, callbacks_per_instant_max: int = 100_000) -> None:
        super().__init__()
        self.now_ms = 0
        self.failures: list[dict[str, Any]] = []
        self._random = random
        self._soon: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[int, int, asyncio.TimerHandle]] = []
        self._due: list[asyncio.TimerHandle] = []
        self._set = 0
        self._instant_max = callbacks_per_instant_max
        self._instant = 0

    # What asyncio asks of a loop ----------------------------------------------------------

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self.now_ms / 1000

    def call_soon(
        self, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> asyncio.Handle:
        """Call after all that was given before."""
        handle = asyncio.Handle(callback, args, self, context)
        self._soon.append(handle)
        return handle

    def call_later(
        self,
        delay_s: float,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call once `delay_s` have passed, rounded up to milliseconds."""
        return self._at(self.now_ms - int(-delay_s * 1000 // 1), callback, args, context)

    def call_at(
        self,
        when_s: float,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call at `when_s` of `time`, rounded up to milliseconds."""
        return self._at(-int(-when_s * 1000 // 1), callback, args, context)

    def after_ms(self, delay_ms: int, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Call once `delay_ms` have passed."""
        return self._at(self.now_ms + delay_ms, callback, args, None)

    async def pass_ms(self, delay_ms: int) -> None:
        """Wait until `delay_ms` have passed."""
        passed: asyncio.Future[None] = self.create_future()
        self.after_ms(delay_ms, passed.set_result, None)
        await passed

    def _at(
        self, when_ms: int, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when_ms / 1000, callback, args, self, context)
        self._set += 1
        heappush(self._timers, (max(when_ms, self.now_ms), self._set, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is passed over when it falls due."""

    def create_task(
        self,
        coro: Generator[Any, None, Result] | Coroutine[Any, Any, Result],
        *,
        name: object = None,
        context: Context | None = None,
    ) -> asyncio.Task[Result]:
        """Make a task; its first step is called soon."""
        return asyncio.Task(coro, loop=self, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody asked for."""
        self.failures.append(context)

    def get_debug(self) -> bool:
        """Never."""
        return False

    # Running ------------------------------------------------------------------------------

    def run_until_complete(self, future: Generator[Any, None, Result] | Awaitable[Result]) -> Result:
        """Run until `future` is done.

        Raises:
            Deadlock: nothing is left to do, or too much within one millisecond.
        """
        awaited: asyncio.Future[Result] = asyncio.ensure_future(future, loop=self)  # type: ignore[arg-type]
        _set_running_loop(self)
        try:
            while not awaited.done():
                self._turn()
        finally:
            _set_running_loop(None)
        return awaited.result()

    def _turn(self) -> None:
        self._fall_due()
        for _ in range(len(self._soon)):
            handle = self._soon.popleft()
            if not handle.cancelled():
                handle._run()

    def _fall_due(self) -> None:
        timers, due = self._timers, self._due
        if not self._soon and not due:
            self._jump()
        while timers and timers[0][0] <= self.now_ms:
            due.append(heappop(timers)[2])
        if len(due) > 1:
            self._random.shuffle(due)
        for _ in range(self._random.randint(1, len(due)) if len(due) > 1 else len(due)):
            self._soon.append(due.pop())
        self._instant += len(self._soon)
        if self._instant > self._instant_max:
            raise Deadlock(f"over {self._instant_max} callbacks, and it is still {self.now_ms} ms")

    def _jump(self) -> None:
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heappop(timers)
        if not timers:
            raise Deadlock(f"nothing is left to do at {self.now_ms} ms")
        if timers[0][0] > self.now_ms:
            self.now_ms = timers[0][0]
            self._instant = 0

    def close(self) -> None:
        """End what is still running."""
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        self._timers.clear()
        self._instant = 0
        if tasks:
            self.run_until_complete(asyncio.wait(tasks))
        super().close()
