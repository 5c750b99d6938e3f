"""A worker: everything that a Gapless has handlers for, served until it is told to stop."""

import asyncio
import logging
from collections.abc import Collection, Coroutine
from random import Random
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from gapless.core.errors import ConfigError
from gapless.core.limits import SESSION_MAX_MS, SESSION_MIN_MS
from gapless.library.gapless import Gapless
from gapless.library.handlers import Handler, JobHandler, StreamHandler
from gapless.ports import Clock
from gapless.server.parting import pause
from gapless.worker.frames import Begin
from gapless.worker.inline import Inline
from gapless.worker.jobs import JobServing
from gapless.worker.members import Member
from gapless.worker.processes import Processes
from gapless.worker.runners import End, How, Runners, told_ms
from gapless.worker.settling import settling
from gapless.worker.shared import Counters, Shared
from gapless.worker.speaking import Speaking

if TYPE_CHECKING:  # its library takes 40 ms to import
    from gapless.worker.metrics import HandlerMetrics

__all__ = ["Options", "Worker"]

PATIENCE_MS: Final = 3_000  # for so long nothing is said of a server that does not answer
LAG_MS: Final = 15_000  # so often it is measured how far handlers are behind
LATE_MS: Final = 15_000  # an answer that is late by this means that something is wrong
log: Final = logging.getLogger("gapless.worker")


class Options(Struct, frozen=True, kw_only=True):
    """What a worker does.

    `target` (`module:gl`) is what its processes import; without one, handlers run in this process.
    `concurrency` is of each process. `only` names the queues, schedules and streams that are served; empty:
    all. What still runs `drain_ms` after it was told to stop is cancelled. A member of a group that is silent
    for `session_ms` loses its partitions, unless the handler says how long that is.
    """

    target: str = ""
    concurrency: int = 100
    processes: int = 1
    only: Collection[str] = ()
    drain_ms: int = 30_000
    session_ms: int = 30_000


class Worker:
    """Serves the handlers of a Gapless. `name` is its own for each start.

    Raises:
        ConfigError: there is nothing to serve, something is named that nobody has declared, or a session is
            outside of its bounds.

    With `metrics`, set before the start, its handlers are measured.
    """

    def __init__(self, gl: Gapless, options: Options, clock: Clock, random: Random, name: str) -> None:
        self._gl = gl
        self._options = options
        self._clock = clock
        self._random = random
        self._name = name
        self._handlers = _chosen(gl, options.only)
        if not SESSION_MIN_MS <= options.session_ms <= SESSION_MAX_MS:
            raise ConfigError(f"a session lasts from 1s to 10m, not {told_ms(options.session_ms)}")
        self._queues: list[JobServing] = []
        self._members: list[Member] = []
        self._claiming: list[asyncio.Task[None]] = []
        self._keeping: list[asyncio.Task[None]] = []
        self._runners: Runners | None = None
        self._shared: Shared | None = None
        self.metrics: HandlerMetrics | None = None
        self._cut_short = asyncio.Event()

    async def start(self) -> None:
        """Declare what is served, start the processes, and begin.

        Raises:
            ConfigError: the handlers cannot run.
            GaplessError: what they need cannot be declared.
        """
        await self._said_if_slow(self._gl.declare())
        settles = settling(self._gl, self._clock, self._random)
        speaking = Speaking(self._gl, settles, self._settled_by_hand)
        self._runners = await self._places(speaking)
        self._shared = Shared(self._gl, self._clock, self._random, self._runners, settles, self._name)
        try:
            await self._runners.open()
        except BaseException:
            await self._runners.close()
            raise
        self._serve(self._shared)

    async def _places(self, speaking: Speaking) -> Runners:
        options = self._options
        piped = await self._gl.carry(_keeps_store)
        if piped and any(self._gl.hooks()):
            log.warning("hooks are not served here, for the store is this worker's: see gapless serve --app")
        if not options.target:
            name = "" if piped else self._name
            return Inline(self._gl, self._clock, speaking, concurrency=options.concurrency, hooks_name=name)
        begin = Begin(options.target, options.concurrency, piped, self._name)
        return Processes(begin, self._clock, self._random, speaking.answer, processes=options.processes)

    def _serve(self, shared: Shared) -> None:
        self._keeping.append(self._begin(shared.standing.run()))
        for handler in self._handlers:
            if isinstance(handler, JobHandler):
                serving = JobServing(handler, shared, handler.terms.concurrency * self._options.processes)
                self._queues.append(serving)
                self._claiming.append(self._begin(serving.run()))
                self._keeping.append(self._begin(serving.extend()))
            elif isinstance(handler, StreamHandler):
                session_ms = handler.terms.session_ms or self._options.session_ms
                member = Member(handler, shared, session_ms)
                self._members.append(member)
                self._claiming.append(self._begin(member.fetch()))
                self._keeping.append(self._begin(member.beat()))
        self._keeping.append(self._begin(self._listen(shared)))
        if self.metrics is not None:
            shared.measured = self.metrics.measured
            self._keeping.append(self._begin(self._measure(self.metrics)))

    def _begin(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        return asyncio.get_running_loop().create_task(work)

    async def failed(self) -> None:
        """Wait until something of it has failed that must not, and raise that."""
        done, _ = await asyncio.wait([*self._claiming, *self._keeping], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    # The end ------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Claim no more, finish what runs, for as long as that may take, and let go of all."""
        if self._shared is None or self._runners is None:
            return
        for task in self._claiming:
            task.cancel()
        await asyncio.gather(*self._claiming, return_exceptions=True)
        for waiting in self._runners.waiting():
            waiting.ended(End(How.GIVEN_UP, why="it had not started when the worker stopped"))
        draining = self._begin(self._drain())
        timer = self._clock.after(self._options.drain_ms, self.cut_short)
        cut = self._begin(self._cut())
        await draining
        timer.cancel()
        cut.cancel()
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, cut, return_exceptions=True)
        await self._runners.close()
        await self._shared.finish()

    async def abandon(self) -> None:
        """End as if the process had died, but for the lifespan: nothing is finished, settled or left."""
        if self._shared is None or self._runners is None:
            return
        tasks = [*self._claiming, *self._keeping]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for serving in self._queues:
            serving.give_up()
        for member in self._members:
            member.give_up()
        try:
            await self._runners.close()
        finally:
            self._shared.settling.give_up()

    def cut_short(self) -> None:
        """Cancel what still runs; jobs are released."""
        self._cut_short.set()

    async def _drain(self) -> None:
        assert self._shared is not None
        await asyncio.gather(*(serving.leave_none_behind() for serving in self._queues))
        await asyncio.gather(
            *(serving.idle() for serving in self._queues), *(member.drain() for member in self._members)
        )

    async def _cut(self) -> None:
        await self._cut_short.wait()
        for serving in self._queues:
            serving.give_up()
        for member in self._members:
            member.give_up()

    # How it is ----------------------------------------------------------------------------

    @property
    def counters(self) -> Counters:
        """What was done so far."""
        return self._shared.counters if self._shared is not None else Counters()

    def names(self) -> list[str]:
        """Return what is served: queues, schedules, streams, and hooks."""
        hooks = [str(hook) for hook in self._gl.hooks()]
        return [handler.name for handler in self._handlers] + hooks

    def health(self) -> dict[str, Any]:
        """Tell how it is: whether it is `well`, how each process is, and what waits for answers too long.

        Partitions that have `halted` are no matter of this worker's: they would halt in any.
        """
        if self._shared is None or self._runners is None:
            return {"well": False, "why": "it starts"}
        places = self._runners.health()
        late = [silence.name for silence in self._shared.silences if silence.overdue_ms() > LATE_MS]
        well = not late and all(place["well"] for place in places)
        counters = self._shared.counters
        return {
            "well": well,
            "running": counters.running,
            "done": counters.done,
            "failed": counters.failed,
            "processes": places,
            "unanswered": late,
            "halted": [halted for member in self._members for halted in member.halted()],
        }

    async def _listen(self, shared: Shared) -> None:
        """Say of what is not answered that it is not, and of the same that it is again."""
        silent: set[str] = set()
        while True:
            await pause(self._clock, self._clock.glance_ms(PATIENCE_MS))
            late = {each.name for each in shared.silences if each.overdue_ms() > PATIENCE_MS}
            for name in sorted(late - silent):
                log.warning("the server does not answer %s; this goes on when it does", name)
            for name in sorted(silent - late):
                log.warning("the server answers %s again", name)
            silent = late

    async def _measure(self, metrics: "HandlerMetrics") -> None:
        """Look again and again how far the handlers are behind."""
        while True:
            await metrics.look(self._gl, self._handlers)
            await pause(self._clock, LAG_MS)

    async def _said_if_slow(self, work: Coroutine[Any, Any, None]) -> None:
        def say() -> None:
            log.warning("waiting for the server, which does not answer yet")

        timer = self._clock.after(PATIENCE_MS, say)
        try:
            await work
        finally:
            timer.cancel()

    def _settled_by_hand(self, fence: str) -> None:
        any(serving.settled_by_hand(fence) for serving in self._queues)


async def _keeps_store(transport: Any) -> bool:
    return bool(transport.keeps_store)


def _chosen(gl: Gapless, only: Collection[str]) -> list[Handler[Any]]:
    handlers = list(gl.handlers())
    if not handlers and not any(gl.hooks()):
        raise ConfigError("there is nothing to serve: no handler was declared, with @gl.queue or the like")
    known = {handler.name for handler in handlers}
    unknown = sorted(set(only) - known)
    if unknown:
        there = ", ".join(sorted(known))
        raise ConfigError(f"no handler was declared for {', '.join(unknown)}; there are: {there}")
    return [handler for handler in handlers if not only or handler.name in only]
