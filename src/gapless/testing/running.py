"""`TestGapless`: a Gapless with its handlers, in memory, on a clock that the test moves."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import Context, copy_context
from datetime import UTC, datetime
from itertools import count
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from msgspec.structs import replace

from gapless.core.jobs import State
from gapless.library.binding import Kind
from gapless.library.gapless import Gapless
from gapless.library.handlers import Handler
from gapless.library.local import Local, configured
from gapless.library.times import Duration, Instant, duration_ms, instant_ms, moment
from gapless.ports import Durability
from gapless.testing.clock import VirtualClock
from gapless.testing.looking import JobSeen, jobs_of
from gapless.testing.quiet import Quiet
from gapless.testing.reading import Read, Reader, gaps
from gapless.testing.recording import Delivered, Recorder
from gapless.testing.tap import LIFE, Crash, Life, Tap
from gapless.worker.worker import Options, Worker

if TYPE_CHECKING:
    from gapless.testing.blocking import Blocking

__all__ = ["TestGapless", "harness"]

Answer = TypeVar("Answer")

CONCURRENCY: Final = 100
NOON: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)  # the same in every run: crons fire in each, or in none


class TestGapless:
    """Runs a Gapless with all its declared handlers, in memory, while it is entered.

    The store, the rules of queues and groups, and the worker are the real ones; only time is not: it
    stands still until `advance`, and handlers run only within `advance` and `run_until_idle`. With `with`
    instead of `async with` it is the same for tests without a loop.

    `start` is when it begins. A handler that waits for the world outside (a database, a thread)
    is waited for, in real time, for up to `patience`; then time passes over it. `config` is used instead of
    the one that was given to the Gapless, `seed` for what is random.
    """

    __test__ = False  # for pytest, which collects classes by their names

    def __init__(
        self,
        gl: Gapless,
        *,
        start: Instant = NOON,
        patience: Duration = "1s",
        config: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self._gl = gl
        self._config = configured("memory:", config if config is not None else gl.config)
        self._patience_ms = duration_ms(patience)
        self._random = Random(seed)
        self._clock = VirtualClock(instant_ms(start))
        self._recorder = Recorder()
        self._names = count(1)
        self._stack = AsyncExitStack()
        self._worker: Worker | None = None
        self._life = Life()
        self._context = Context()

    # Begin and end ------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        store = replace(self._config.store, durability=Durability.MEMORY)
        config = replace(self._config, store=store)
        self._tap = Tap(Local(config, self._random, self._clock), self._clock, self._recorder)
        self._quiet = Quiet(lambda: self._recorder.stirred)
        handlers = list(self._gl.handlers())
        async with AsyncExitStack() as stack:
            stack.enter_context(self._gl.meanwhile(lambda: self._tap, self._recorder))
            stack.enter_context(self._recorder.listening(handlers))
            await stack.enter_async_context(self._gl)
            self._patient = any(_is_elsewhere(handler) for handler in handlers)
            if handlers:
                await self._begin_worker()
                stack.push_async_callback(self._end_worker)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def __enter__(self) -> "Blocking":
        from gapless.testing.blocking import Blocking

        self._blocking = Blocking(self)
        return self._blocking

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._blocking.close()

    async def _begin_worker(self) -> None:
        """Start a worker, with a life of its own."""
        self._life = Life()
        self._context = copy_context()
        self._context.run(LIFE.set, self._life)
        options = Options(concurrency=CONCURRENCY)
        self._worker = Worker(self._gl, options, self._clock, self._random, name=f"test-{next(self._names)}")
        await self._as_worker(self._worker.start())

    async def _end_worker(self) -> None:
        if self._worker is not None:
            await self._as_worker(self._worker.abandon())

    def _as_worker(self, work: Coroutine[Any, Any, Answer]) -> "asyncio.Task[Answer]":
        return asyncio.get_running_loop().create_task(work, context=self._context)

    # Time ---------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """What time it is, here."""
        return moment(self._clock.now_ms())

    async def run_until_idle(self) -> None:
        """Have everything handled that is due now, and what follows from it, until nothing is left to do.

        Raises:
            Deadlock: it never ends.
        """
        async with self._giving():
            pass

    async def advance(self, by: Duration) -> None:
        """Let time pass: what is due now is handled, then what falls due on the way, each at its time.

        Raises:
            Deadlock: at some instant it never ends.
        """
        async with self._giving():
            end_ms = self._clock.now_ms() + duration_ms(by)
            while self._clock.move(end_ms):
                await self._settle()

    async def pause(self, time: Duration) -> None:
        """Wait, in a handler or a task of the test, until so much time has passed here."""
        over = asyncio.Event()
        self._clock.after(duration_ms(time), over.set)
        await over.wait()

    @asynccontextmanager
    async def _giving(self) -> AsyncIterator[None]:
        """Let handlers have what there is, until all is at rest."""
        self._overlooked = -1
        self._tap.give()
        try:
            await self._settle()
            yield
            await self._settle()
        finally:
            self._tap.withhold()
            await self._quiet.wait()

    async def _settle(self) -> None:
        """Come to rest: nothing is left to do before time passes, or the test does something."""
        while True:
            await self._quiet.wait()
            if self._life.over:
                with suppress(asyncio.CancelledError):  # the end of its lifespan is a dead one's too
                    await self._end_worker()
                self._recorder.crashed()
                await self._begin_worker()
            elif not await self._world():
                return

    async def _world(self) -> bool:
        """Wait for the world outside if handlers may do so too; tell whether anything came of it."""
        running = self._worker is not None and self._worker.counters.running
        if not running or self._overlooked == self._recorder.stirred:
            return False
        if not (self._patient or self._quiet.hears_world()):
            return False
        if await self._quiet.world(self._patience_ms):
            return True
        self._overlooked = self._recorder.stirred
        return False

    # Crashes ------------------------------------------------------------------------------

    def crash_before_ack(self) -> None:
        """Let the worker die the next time that it settles a job, before the store has heard of it.

        A new one begins at once. What the dead one held is given to it when its leases have run out:
        `advance` by the lease.
        """
        self._tap.crashes.append(Crash.BEFORE_ACK)

    def crash_after_ack(self) -> None:
        """Let the worker die the next time that it settles a job, when the store has done it."""
        self._tap.crashes.append(Crash.AFTER_ACK)

    def crash_before_commit(self) -> None:
        """Let the worker die the next time that it commits how far it is in a stream, before that is stored.

        What it held of the group's partitions is given to the next one when its session has run out.
        """
        self._tap.crashes.append(Crash.BEFORE_COMMIT)

    def crash_after_commit(self) -> None:
        """Let the worker die the next time that it commits, when that is stored."""
        self._tap.crashes.append(Crash.AFTER_COMMIT)

    # What happened ------------------------------------------------------------------------

    def deliveries(self, handler: Handler[Any] | str) -> list[Delivered]:
        """Return the deliveries to a function, or of a queue or stream by its name, in their order."""
        if isinstance(handler, str):
            return [each for each in self._recorder.deliveries if each.name == handler]
        return [
            each
            for each in self._recorder.deliveries
            if each.handler is handler or (each.handler is None and each.name == handler.name)
        ]

    def calls(self, handler: Handler[Any] | str) -> list[Any]:
        """Return what a function was called with: its payloads, in their order."""
        return [each.payload for each in self.deliveries(handler) if each.called]

    def published(self, channel: str) -> list[Any]:
        """Return what was published to a channel, in its order, by handlers too; repeats count once."""
        return list(self._tap.published.get(channel, ()))

    async def jobs(self, queue: str, *states: State | str) -> list[JobSeen]:
        """Return the jobs of a queue that wait or are leased, or of other states (`dead`, `done`), by age.

        Raises:
            UnknownQueue: there is no such queue.
        """
        found = [State(state) for state in states] or [State.WAITING, State.LEASED]
        return await jobs_of(self._gl, queue, found)

    async def dead(self, queue: str) -> list[JobSeen]:
        """Return the dead letters of a queue. Raises as `jobs`."""
        return await self.jobs(queue, State.DEAD)

    # Readers ------------------------------------------------------------------------------

    def reader(self, channel: str, *, after: str | None = None) -> Reader:
        """Return a reader of a channel, from a cursor on or from now (`async with t.reader(…) as r:`)."""
        return Reader(self._gl, channel, after, self._quiet)

    async def assert_no_gaps(self, reader: Read) -> None:
        """See that nothing is missing, doubled or out of order in what was read of a channel.

        `reader` is one of `reader`, which has to have read everything by now, or publications that were
        read in some other way: between the first and the last of them.

        Raises:
            AssertionError: it says what is wrong, and where.
        """
        await self._quiet.wait()
        wrong = await gaps(self._gl, reader)
        assert not wrong, wrong


def _is_elsewhere(handler: Handler[Any]) -> bool:
    """Tell whether a handler runs in a thread, or what it depends on may."""
    return handler.binding.kind is not Kind.AWAITABLE or handler.binding.needs


harness = TestGapless
